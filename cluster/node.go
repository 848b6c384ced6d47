package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/cluster/gossip"
	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// A Node is one node's part in its cluster. Its methods may be called from many goroutines.
type Node struct {
	Config
	table     *limiter.Table
	transport *peer.Transport
	gossip    *gossip.Gossip
	views     *ring.Builder
	started   time.Time
	rules     atomic.Pointer[Rules]

	mu      sync.Mutex         // guards machine and what it is told
	machine *ownership.Machine // nil until the node has joined
	view    *ring.View

	telling sync.Mutex    // held while the others are told what this node is, so that the last word is true
	looking sync.Mutex    // held while a view is built and taken
	boot    atomic.Uint64 // of this life; changes only before there is a machine

	routes   []routeCell
	stirred  atomic.Pointer[chan struct{}] // closed when any route has changed
	waiters  waiters
	ended    ended
	topology topology
	denials  denials
	draining atomic.Bool
	refusing atomic.Bool // too few members are in view
	stalls   stalls
	pursuing atomic.Int64 // questions that wait
	counts   counts
	losses   losses     // guarded by mu
	rejected rejections // guarded by mu

	dirty  chan struct{} // there are changes to copy
	joined chan struct{} // closed when the node has its first view

	supersede  sync.Once
	superseded chan struct{} // closed when a later life of this node was seen

	stop    context.CancelFunc
	workers sync.WaitGroup
	closing sync.Once
}

// maxBehind is how old the oldest change may be that was not given to the copies' streams:
// beyond that a partition waits. Copying begins copyAfter the first change, so that many
// go together.
const (
	maxBehind = 10 * time.Millisecond
	copyAfter = 6 * time.Millisecond
)

// Start starts a node's part: when it returns the node listens, and joins in the background.
func Start(c Config) (_ *Node, err error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	n := &Node{
		Config: c, views: ring.NewBuilder(c.Partitions), started: time.Now(),
		routes: make([]routeCell, c.Partitions), dirty: make(chan struct{}, 1), joined: make(chan struct{}), superseded: make(chan struct{}),
	}
	n.rules.Store(&c.Rules)
	n.topology.init()
	n.waiters.init()
	n.ended.init()
	n.stir()
	for i := range n.routes {
		n.routes[i].now.Store(&route{})
	}
	n.table, err = limiter.NewTable(limiter.Config{
		Partitions: c.Partitions, MaxKeys: c.MaxKeys, WhenFull: c.WhenFull,
		LargestLimit: c.Rules.LargestLimit, Shared: true, MaxBehind: maxBehind, Wake: n.wake,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.boot.Store(firstBoot())
	n.stalls.ticked.Store(int64(c.Clock()))
	lis, err := c.Listen(c.Peer)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	n.Peer = advertised(lis.Addr().String(), c.Advertise)
	n.transport = peer.New(peer.Config{
		Name: c.Name, Listener: lis, Cluster: c.Secrets, Handler: (*handler)(n), Log: c.Log, Clock: c.Clock,
		ServerOptions: c.PeerServer, DialOptions: c.PeerDial,
	})
	n.transport.SetBoot(n.Boot())
	started, err := gossip.Start(gossip.Config{
		Meta: n.meta(), Bind: c.Gossip, Advertise: c.Advertise, Seeds: c.Join, Label: c.Label, Keys: c.GossipKeys, Log: c.Log,
	})
	if err != nil {
		stop()
		_ = n.transport.Close(context.Background())
		return nil, fmt.Errorf("gossip: %w", err)
	}
	n.mu.Lock()
	n.gossip = started
	n.mu.Unlock()
	n.retell() // if the boot has risen meanwhile
	n.workers.Go(func() { n.follow(ctx) })
	n.workers.Go(func() { n.tick(ctx) })
	n.workers.Go(func() { n.replicate(ctx) })
	return n, nil
}

// firstBoot is the boot number of a name that nobody has seen: seconds, and a nonce. If a
// higher one was seen, the node takes the next above that.
func firstBoot() uint64 { return uint64(time.Now().Unix())<<16 | rand.Uint64N(1<<16) }

// advertised is the address that others are told: that of the listener, with the host that
// is to be advertised.
func advertised(listening, host string) string {
	if host == "" {
		return listening
	}
	_, port, err := net.SplitHostPort(listening)
	if err != nil {
		return listening
	}
	return net.JoinHostPort(host, port)
}

// Table is the table whose partitions the node shares with the others.
func (n *Node) Table() *limiter.Table { return n.table }

// PeerAddr and GossipAddr return where other nodes reach this one.
func (n *Node) PeerAddr() string   { return n.Peer }
func (n *Node) GossipAddr() string { return n.gossip.Addr() }

func (n *Node) meta() gossip.Meta {
	return gossip.Meta{
		Name: n.Name, Boot: n.Boot(), Draining: n.draining.Load(), Peer: n.Peer, GRPC: n.GRPC, Admin: n.Admin,
		Protocol: Protocol, Ring: ring.Fingerprint(n.Partitions), Keys: n.Secrets, Policy: fingerprint(n.rules.Load().Policy),
	}
}

// fingerprint is the number by which gossip compares policies.
func fingerprint(of string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, of) // never fails
	return h.Sum64()
}

// settlePoll is how often a node that has joined looks whether all is decided somewhere.
const settlePoll = 20 * time.Millisecond

// AwaitSettled waits until this node has joined and knows of each partition who decides for
// it, or ctx ends.
func (n *Node) AwaitSettled(ctx context.Context) error {
	for {
		if n.settled() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settlePoll):
		}
	}
}

func (n *Node) settled() bool {
	select {
	case <-n.joined:
	default:
		return false
	}
	for i := range n.routes {
		if r := n.routes[i].now.Load(); r.Holder == "" || r.Held && !r.permitted {
			return false
		}
	}
	return true
}

// Bounds on leaving.
const (
	drainMost = 30 * time.Second
	drainPoll = 10 * time.Millisecond
	leaveMost = 2 * time.Second
	deserted  = 2 * time.Second // if all others are leaving, or seem to have left
)

// Drain hands all that the node holds to the others: it returns when they have it all, with
// their copies, or after 30 s, or when ctx ends, with the number of partitions that are
// left. Calls are answered meanwhile.
func (n *Node) Drain(ctx context.Context) (left int) {
	ctx, cancel := context.WithTimeout(ctx, drainMost)
	defer cancel()
	if !n.draining.Swap(true) {
		n.retell()
		n.look()
	}
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	began := time.Now()
	for {
		held, rest, anyStays := n.undrained()
		if held+rest == 0 {
			return 0
		}
		if anyStays {
			began = time.Now()
		} else if n.alone() || time.Since(began) > deserted {
			return held // there is nobody to hand over to
		}
		select {
		case <-ctx.Done():
			return held
		case <-n.superseded:
			return held // nobody listens to it any more
		case <-ticker.C:
		}
	}
}

// undrained returns how many partitions the node holds, what else keeps it (copies, and
// remainders), and whether any member is to stay.
func (n *Node) undrained() (held, rest int, anyStays bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.machine == nil || n.view == nil {
		return 0, 0, false
	}
	for _, m := range n.view.Members() {
		anyStays = anyStays || m.Name != n.Name && !m.Draining
	}
	held, rest = n.machine.Holds()
	if n.machine.Unsettled() {
		rest++
	}
	return held, rest, anyStays
}

// alone tells whether no other node is to be reckoned with: not one that gossip has wrongly
// given up for a moment.
func (n *Node) alone() (alone bool) {
	n.do(func(m *ownership.Machine, _ limiter.Instant) { alone = m.Alone() })
	return alone
}

// Close leaves the cluster and ends all connections. What was not drained is lost.
func (n *Node) Close(ctx context.Context) (err error) {
	n.closing.Do(func() {
		leave, cancel := context.WithTimeout(ctx, leaveMost)
		defer cancel()
		if err := n.gossip.Leave(leave); err != nil {
			n.Log.Debug("left without a good-bye", "error", err)
		}
		n.stop()
		n.workers.Wait()
		n.endWaiting()
		err = n.transport.Close(ctx)
		if e := n.gossip.Shutdown(); err == nil {
			err = e
		}
	})
	return err
}

// log levels of the turns that partitions take: too many to tell by default.
func (n *Node) note(p limiter.PartitionID, what string) {
	n.Log.LogAttrs(context.Background(), slog.LevelDebug, "partition", slog.Int("partition", int(p)), slog.String("turn", what))
}
