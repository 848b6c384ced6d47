package peer

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A journal logs what keeps two nodes apart, the same thing about the same node once a
// minute.
type journal struct {
	log *slog.Logger

	mu   sync.Mutex // guards last
	last map[complaint]time.Time
}

type complaint struct{ node, what string }

const (
	onceEvery     = time.Minute
	maxComplaints = 256 // remembered
)

func (j *journal) warn(msg, node, what string, args ...any) {
	now := time.Now()
	j.mu.Lock()
	if j.last == nil || len(j.last) >= maxComplaints {
		j.last = make(map[complaint]time.Time)
	}
	c := complaint{node, what}
	said, ok := j.last[c]
	again := !ok || now.Sub(said) >= onceEvery
	if again {
		j.last[c] = now
	}
	j.mu.Unlock()
	if again {
		j.log.Warn("peer: "+msg, append([]any{"node", node, "reason", what}, args...)...)
	}
}

// complain logs why a lane's stream did not come about or ended. That nodes come and go is
// told by membership, and logged only for those who look for it.
func (t *Transport) complain(l *lane, addr string, err error) {
	s, isStatus := status.FromError(err)
	switch {
	case err == nil, errors.Is(err, io.EOF):
	case isStatus && s.Code() == codes.FailedPrecondition:
		t.journal.warn("a node refuses this one", l.node.name, s.Message(), "addr", addr)
	case isStatus, isNetwork(err):
		t.Log.Debug("peer: a connection ended", "node", l.node.name, "addr", addr, "carries", l.kind.String(), "error", err)
	default:
		t.journal.warn("a node is not fit to talk to", l.node.name, err.Error(), "addr", addr)
	}
}

// isNetwork tells whether err is of the network.
func isNetwork(err error) bool {
	var network interface{ Timeout() bool }
	return errors.As(err, &network)
}
