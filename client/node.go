package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

const (
	// mostStreams are the streams that the checks for a node share which is the only one. More
	// would make their batches smaller; one alone is served by one core of the node. Of several
	// nodes each has one: they have cores enough together.
	mostStreams = 2

	// A node that left missesAllowed tries in a row without an answer is avoided
	// for avoidFor, and then asked by one call in that time until it answers.
	missesAllowed = 3
	avoidFor      = time.Second
)

// A node is one address of the limiter, with its connection: a node of the
// cluster, or what the target names, which may stand for several.
type node struct {
	address string
	conn    *grpc.ClientConn
	rpc     sluicev1.RateLimiterServiceClient
	born    time.Time

	state    atomic.Int32 // of the connection, a connectivity.State
	draining atomic.Bool  // the topology says so
	noStream atomic.Bool  // it does not serve CheckStream

	answered atomic.Int64 // when it last answered, in nanoseconds since born

	misses  atomic.Int32 // tries without an answer since the last answer
	avoided atomic.Int64 // until when, in nanoseconds since born; 0: it is not

	following atomic.Pointer[context.CancelFunc] // ends the watch of its topology, if there is one

	turn    atomic.Uint32
	streams [mostStreams]atomic.Pointer[stream]

	mu     sync.Mutex // guards closed, and that streams begin before it is set
	closed bool
	ctx    context.Context // ends when the node is closed
	stop   context.CancelFunc
	tasks  sync.WaitGroup
}

// newNode begins to connect to address.
func newNode(address string, dial []grpc.DialOption) (*node, error) {
	if address == "" {
		return nil, errors.New("the address is empty")
	}
	conn, err := grpc.NewClient(address, dial...)
	if err != nil {
		return nil, err
	}
	n := &node{address: address, conn: conn, rpc: sluicev1.NewRateLimiterServiceClient(conn), born: time.Now()}
	n.state.Store(int32(connectivity.Connecting))
	n.ctx, n.stop = context.WithCancel(context.Background())
	conn.Connect() // the first call should not pay for it
	n.tasks.Go(n.followState)
	return n, nil
}

// close ends the connection. Tries under way are told that they are broken.
func (n *node) close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	err := n.conn.Close()
	n.tasks.Wait()
	return err
}

// followState keeps state, and the connection wanted, until the node is closed.
func (n *node) followState() {
	for before := connectivity.Connecting; ; {
		state := n.conn.GetState()
		n.state.Store(int32(state))
		switch state {
		case connectivity.Shutdown:
			return
		case connectivity.Idle:
			n.conn.Connect()
		case connectivity.Ready: // perhaps it is a new process
			n.heard()
			n.noStream.Store(false)
		}
		if before == connectivity.Ready {
			// That ended, even if it is so again. What is under way may still be
			// answered, as the node may only have said goodbye; what comes next
			// belongs on the next connection.
			n.retireStreams()
		}
		if !n.conn.WaitForStateChange(n.ctx, state) {
			return
		}
		before = state
	}
}

func (n *node) is(state connectivity.State) bool { return n.state.Load() == int32(state) }

// fit reports whether the node is connected and stays.
func (n *node) fit() bool { return n.is(connectivity.Ready) && !n.draining.Load() }

// admits reports whether the node may be asked at now: it is not avoided, or the
// call is the one that finds out whether it still must be.
func (n *node) admits(now time.Time) bool {
	until := n.avoided.Load()
	if until == 0 {
		return true
	}
	at := now.Sub(n.born)
	return int64(at) >= until && n.avoided.CompareAndSwap(until, int64(at+avoidFor))
}

// promising reports whether it is worth a second try that the first is not
// waited for any longer.
func (n *node) promising() bool {
	return !n.is(connectivity.TransientFailure) && n.avoided.Load() == 0
}

// rank orders the nodes that are not both fit and admitted: the lower, the better.
func (n *node) rank() int {
	switch {
	case n.is(connectivity.TransientFailure):
		return 4
	case !n.is(connectivity.Ready):
		return 3
	case n.avoided.Load() != 0:
		return 2
	}
	return 1
}

// missed notes a try without an answer.
func (n *node) missed(now time.Time) {
	if n.misses.Add(1) < missesAllowed || !n.avoided.CompareAndSwap(0, int64(now.Sub(n.born)+avoidFor)) {
		return
	}
	if end := n.following.Load(); end != nil {
		(*end)() // another node may know who decides now
	}
}

// heard notes an answer.
func (n *node) heard() {
	if n.misses.Load() != 0 || n.avoided.Load() != 0 { // either alone, if a miss and an answer met
		n.misses.Store(0)
		n.avoided.Store(0)
	}
}

// hasAnswered notes an answer.
func (n *node) hasAnswered(now time.Time) {
	n.heard()
	n.answered.Store(int64(now.Sub(n.born)))
}

// answeredSince reports whether any call was answered after an instant.
func (n *node) answeredSince(t time.Time) bool { return n.answered.Load() > int64(t.Sub(n.born)) }

// enqueue puts t on one of so many streams of the node. If that is not possible t is told.
func (n *node) enqueue(t *try, streams uint32) {
	place := &n.streams[0]
	if streams > 1 {
		place = &n.streams[n.turn.Add(1)%streams]
	}
	for s := place.Load(); ; {
		if s != nil && s.add(t) {
			return
		}
		if s = n.replace(place, s); s == nil {
			t.tell(answer{node: n, err: unavailable("the connection is closed"), broken: true})
			return
		}
	}
}

// replace returns the stream at place, a new one if it is still old; nil if
// the node is closed.
func (n *node) replace(place *atomic.Pointer[stream], old *stream) *stream {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	if s := place.Load(); s != old {
		return s
	}
	s := newStream(n)
	place.Store(s)
	n.tasks.Go(s.run)
	return s
}

func (n *node) retireStreams() {
	for i := range n.streams {
		if s := n.streams[i].Load(); s != nil {
			s.retire()
		}
	}
}
