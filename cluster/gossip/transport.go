package gossip

import (
	"context"
	"errors"
	"log"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// How often to try when the kernel picks the port: it may be free for TCP and taken for UDP.
const bindTries = 10

var errCut = errors.New("cut off by a test")

// A transport is memberlist's own over TCP and UDP, except that its connections end with a context:
// what waits for a silent peer holds up no shutdown.
type transport struct {
	*memberlist.NetTransport
	ctx context.Context
	cut func(addr string) bool // nil: never
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(ctx context.Context, s settled, logger *log.Logger) (*transport, error) {
	tries := 1
	if s.bind.Port() == 0 {
		tries = bindTries
	}
	var err error
	for range tries {
		var t *memberlist.NetTransport
		t, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{s.bind.Addr().String()},
			BindPort:  int(s.bind.Port()),
			Logger:    logger,
		})
		if err == nil {
			return &transport{NetTransport: t, ctx: ctx, cut: s.Cut}, nil
		}
	}
	return nil, err
}

func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if t.cut != nil && t.cut(a.Addr) {
		return time.Now(), nil // lost, as a packet is
	}
	return t.NetTransport.WriteToAddress(b, a)
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.cut != nil && t.cut(a.Addr) {
		return nil, errCut
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	return endingConn{Conn: conn, forget: context.AfterFunc(t.ctx, func() { _ = conn.Close() })}, nil
}

// An endingConn is closed when the context of its transport ends.
type endingConn struct {
	net.Conn
	forget func() bool
}

func (c endingConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
