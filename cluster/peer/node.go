package peer

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// forgetAfter is how long a node that is listed no more is connected to all the same: after
// a split it is found again through that.
const forgetAfter = time.Minute

// A node is another member as the transport sees it.
//
// Its streams are of six kinds: from it to us, which our lanes open, and from us to it, which
// it opens; each for frames, for copies and for calls.
type node struct {
	t      *Transport
	name   string
	caller *caller
	lanes  [laneKinds]*lane

	mu       sync.Mutex // guards what follows
	addr     string     // "": not connected to
	listed   bool
	forget   *time.Timer // since it is listed no more; else nil
	stop     context.CancelFunc
	sessions [laneKinds]*session // that it has opened
	conn     *grpc.ClientConn    // for calls; nil: not connected
	boot     uint64              // the highest of any stream
	reached  string              // where we reached that life; "": nowhere yet
	streams  int                 // of that life, of any kind
	changes  uint64              // grows whenever a stream begins or ends
	ended    bool                // that life: reported
}

func newNode(t *Transport, name string) *node {
	n := &node{t: t, name: name}
	n.caller = newCaller(n)
	for kind := range n.lanes {
		done := make(chan struct{})
		close(done)
		n.lanes[kind] = &lane{node: n, kind: laneKind(kind), kick: make(chan struct{}, 1), done: done}
	}
	return n
}

// connect lets lanes run to addr from now on; "": none. n.mu is held.
func (n *node) connect(addr string) {
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
	if n.addr = addr; addr == "" || n.t.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(n.t.ctx)
	n.stop = stop
	for _, l := range n.lanes {
		before, done := l.done, make(chan struct{})
		l.done = done
		n.t.running.Go(func() {
			defer close(done)
			<-before // a sender is heard by one goroutine
			l.run(ctx, addr)
		})
	}
}

// list sets the address of a node that is listed.
func (n *node) list(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listed = true
	if n.forget != nil {
		n.forget.Stop()
		n.forget = nil
	}
	if addr != n.addr {
		n.connect(addr)
	}
}

// unlist begins to forget a node.
func (n *node) unlist() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listed && n.addr != "" {
		n.forget = time.AfterFunc(forgetAfter, n.drop)
	}
	n.listed = false
}

// drop ends the lanes to a node that is not listed.
func (n *node) drop() {
	n.mu.Lock()
	if !n.listed {
		if n.forget != nil {
			n.forget.Stop()
			n.forget = nil
		}
		n.connect("")
	}
	n.mu.Unlock()
	n.t.prune(n)
}

// idle tells whether nothing is left of a node. n.mu is held.
func (n *node) idle() bool {
	return !n.listed && n.addr == "" && n.streams == 0 && n.sessions == [laneKinds]*session{}
}

// anew begins every stream to and from the node anew.
func (n *node) anew() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s != nil {
			s.end(errAnew)
		}
	}
	if n.addr != "" {
		n.connect(n.addr)
	}
}

// cut ends our lanes' streams, which then begin anew.
func (n *node) cut() {
	for _, l := range n.lanes {
		l.cut()
	}
}

// rouse lets lanes that wait try at once.
func (n *node) rouse() {
	for _, l := range n.lanes {
		l.rouse()
	}
}

// begin counts a stream of a life of the node that we reached at addr; "": it reached us.
// It returns false for an earlier life.
func (n *node) begin(boot uint64, addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if boot < n.boot {
		return false
	}
	if boot > n.boot {
		n.boot, n.streams, n.reached = boot, 0, ""
	}
	if addr != "" {
		n.reached = addr
	}
	n.streams++
	n.changes++
	n.ended = false
	return true
}

// end counts the end of a stream that begin counted. All that came on it was handed over.
func (n *node) end(boot uint64) {
	n.mu.Lock()
	last := false
	if boot == n.boot {
		n.streams--
		n.changes++
		last = n.streams == 0
	}
	n.mu.Unlock()
	if last {
		n.rouse() // a refusal now would prove that the life has ended
	}
}

// state returns a number that changes whenever a stream begins or ends.
func (n *node) state() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changes
}

// refused takes that a connection to addr failed, begun in the given state.
func (n *node) refused(addr string, state uint64, err error) {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	n.mu.Lock()
	boot := n.boot
	alone := n.streams == 0 && n.changes == state
	gone := alone && boot != 0 && !n.ended && (n.reached == "" || n.reached == addr)
	if gone {
		n.ended = true
	}
	useless := alone && !n.listed
	n.mu.Unlock()
	if gone {
		n.t.Handler.Gone(n.name, boot)
	}
	if useless {
		n.drop()
	}
}
