package peer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// A Handler is what a Transport hands over to. Its methods are called from many goroutines.
type Handler interface {
	// Frame and Copying are called in the order of sending, each from one goroutine for each
	// sender. They may block: then the sender is held up in the end, or its letters dropped.
	// What the letter is made of is used again once they have returned.
	Frame(from string, boot uint64, f *ownership.Frame)
	Copying(from string, boot uint64, c *ownership.Copying)
	// Relinked tells that the stream for copies to a node began anew: what was sent on the
	// one before may be lost.
	Relinked(name string)
	// Gone tells that a life of a node has ended: every stream to and from it ended, all that
	// had arrived was handed over, and then a new connection was refused.
	Gone(name string, boot uint64)
	// Newer tells that another node knows of a higher boot of our own name than ours.
	Newer(boot uint64)
	// Decide decides calls that another node forwarded. It must not block. done is to be
	// called once for each call, from any goroutine, at once or later; after the call's
	// deadline nobody waits for it. ctx ends when nobody can be answered any more.
	Decide(ctx context.Context, calls []*Call, done func(i int, a Answer))
	Operator
}

// An Operator answers what operators ask a node.
type Operator interface {
	// Status says how this node is.
	Status() NodeStatus
	// Inspect explains a key whose partition this node holds. tier may be empty.
	Inspect(ctx context.Context, key limiter.Key, tier string) (KeyStatus, error)
	// Leases returns live leases of the partitions that this node holds, or of one key (nil:
	// all), at most most of them, and whether there are more.
	Leases(ctx context.Context, key *limiter.Key, most int) (leases []LeaseStatus, more bool, err error)
	// Reset forgets the history of a key whose partition this node holds, and tells whether
	// it had one.
	Reset(ctx context.Context, key limiter.Key) (found bool, err error)
}

// Config says who a Transport speaks for. All but the options must be set.
type Config struct {
	Name     string
	Listener net.Listener // becomes the Transport's
	Cluster  uint64       // fingerprint of what all members must share; another is refused
	Handler  Handler
	Log      *slog.Logger
	Clock    func() limiter.Instant

	ServerOptions []grpc.ServerOption
	DialOptions   []grpc.DialOption // insecure if there are none
}

// An Address is where a node listens.
type Address struct {
	Name string
	Addr string // host:port
}

// A Transport carries letters and calls between this node and the others. It is safe for
// concurrent use.
type Transport struct {
	Config
	server  *grpc.Server
	ctx     context.Context // of the lanes
	stop    context.CancelFunc
	running sync.WaitGroup // lanes and the server
	closing chan struct{}  // closed when sessions are to come to an end
	closed  chan struct{}  // closed when all has ended
	once    sync.Once
	journal journal

	mu    sync.Mutex // guards what follows; no node's lock is taken before it
	over  bool
	boot  uint64 // 0: not set
	nodes map[string]*node
	seen  map[string]uint64 // the highest boot of a name
}

// Limits of connections.
const (
	window     = 1 << 20 // bytes under way on a stream
	maxMessage = 4 << 20 // bytes; ours have at most about a quarter
	maxReport  = 64 << 20
	maxHeader  = 16 << 10 // bytes
)

// New returns a Transport that serves at once. Until SetBoot others are refused.
func New(c Config) *Transport {
	t := &Transport{
		Config: c, closing: make(chan struct{}), closed: make(chan struct{}),
		nodes: make(map[string]*node), seen: make(map[string]uint64),
	}
	t.journal.log = c.Log
	t.ctx, t.stop = context.WithCancel(context.Background())
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(256),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.WaitForHandlers(true),
		// Those that were cut off without a word are given up after a while.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
	}
	t.server = grpc.NewServer(append(options, c.ServerOptions...)...)
	peerv1.RegisterPeerServiceServer(t.server, &service{t: t})
	t.running.Go(func() {
		if err := t.server.Serve(c.Listener); err != nil {
			c.Log.Error("peer: serving other nodes has failed", "error", err)
		}
	})
	return t
}

// SetBoot sets the boot of this node, above 0. It must be called before SetPeers. It may be
// called again with a higher boot, as long as this node holds nothing: then every stream
// begins anew.
func (t *Transport) SetBoot(boot uint64) {
	t.mu.Lock()
	again := t.boot != 0 && boot != t.boot
	t.boot = boot
	var nodes []*node
	if again {
		nodes = slices.Collect(maps.Values(t.nodes))
	}
	t.mu.Unlock()
	for _, n := range nodes {
		n.anew()
	}
}

// SetPeers sets the nodes to be connected to. A name with another address is connected to
// there. Names that are listed no more are kept for a minute, unless they refuse.
func (t *Transport) SetPeers(peers []Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	listed := make(map[string]bool, len(peers))
	for _, p := range peers {
		if p.Name == t.Name || p.Addr == "" {
			continue
		}
		listed[p.Name] = true
		t.nodeLocked(p.Name).list(p.Addr)
	}
	for name, n := range t.nodes {
		if !listed[name] {
			n.unlist()
		}
	}
}

// nodeLocked returns the node of a name, which it makes if there is none. t.mu is held.
func (t *Transport) nodeLocked(name string) *node {
	n := t.nodes[name]
	if n == nil {
		n = newNode(t, name)
		t.nodes[name] = n
	}
	return n
}

func (t *Transport) node(name string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[name]
}

// prune forgets a node of which nothing is left.
func (t *Transport) prune(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.nodes[n.name] == n && n.idle() {
		delete(t.nodes, n.name)
	}
}

// Send sends letters to a node. It never blocks: what cannot be queued is dropped, because the
// node has no stream to us or reads too slowly. A Copying that is dropped ends the stream for
// copies, so that it begins anew. The letters must not be changed afterwards.
func (t *Transport) Send(to string, l *ownership.Letters) {
	n := t.node(to)
	if n == nil {
		return
	}
	if l.Frame != nil {
		if s := n.session(frameLane); s != nil {
			s.out.frame(l.Frame)
		}
	}
	if l.Copying != nil {
		if s := n.session(copyLane); s != nil {
			s.out.copying(l.Copying)
		}
	}
}

// Forward asks a node. It never blocks. done is called exactly once for each call, perhaps
// before Forward returns, else from another goroutine, at the latest a few milliseconds after
// the call's deadline. Calls must not be changed before. When ctx ends, calls that were not
// written yet are Undecided.
func (t *Transport) Forward(ctx context.Context, to string, calls []*Call, done func(i int, a Answer)) {
	n := t.node(to)
	if n == nil {
		for i := range calls {
			done(i, Answer{Undecided: true})
		}
		return
	}
	n.caller.ask(ctx, calls, done)
}

// Close ends all streams: what was queued or decided is written first, if ctx leaves the time.
// It returns an error if something still runs when ctx ends, as a Handler that does not
// return.
func (t *Transport) Close(ctx context.Context) error {
	t.once.Do(func() {
		t.mu.Lock()
		t.over = true
		nodes := slices.Collect(maps.Values(t.nodes))
		t.mu.Unlock()
		for _, n := range nodes {
			n.unlist()
			n.drop()
		}
		t.stop()
		close(t.closing)
		go func() {
			defer close(t.closed)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				t.server.GracefulStop()
			}()
			select {
			case <-stopped:
			case <-time.After(flushTime):
			case <-ctx.Done():
			}
			t.server.Stop()
			<-stopped
			t.running.Wait()
		}()
	})
	select {
	case <-t.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("peer: streams have not ended: %w", ctx.Err())
	}
}

// flushTime is how long Close lets sessions write what they have.
const flushTime = time.Second
