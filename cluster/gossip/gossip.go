package gossip

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const maxLabel = memberlist.LabelMaxSize

// leaveWithin bounds how long Leave waits for others to hear of it.
const leaveWithin = time.Second

// ErrStopped is returned by what a node that left or was shut down can no longer do.
var ErrStopped = errors.New("gossip has stopped")

// A Gossip is one node's part in the cluster's membership. It is safe for concurrent use.
type Gossip struct {
	config  settled
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring // nil: plain
	roster  *roster
	journal *journal
	addr    netip.AddrPort

	stop    context.CancelFunc // ends the loops and every connection attempt
	loops   sync.WaitGroup
	writing sync.WaitGroup // the journal's own loop, which ends last

	updating sync.Mutex    // serializes Update, its repetition and the end
	updated  chan struct{} // there is news of this node, to be told again

	mu       sync.Mutex    // guards what follows
	meta     Meta          // our own
	encoded  []byte        // the same, as it is sent
	left     chan struct{} // closed when our leaving is done; nil before Leave
	leaveErr error         // to be read after left is closed
	down     bool

	shutdown func() error // once
}

// Start listens, and begins to look for others in the background: it does not wait for any. An error
// names the field of the Config that it is about.
func Start(c Config) (*Gossip, error) {
	ctx, stop := context.WithCancel(context.Background())
	s, err := settle(ctx, c)
	if err != nil {
		stop()
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g := &Gossip{config: s, meta: s.Meta, journal: newJournal(s.Log), stop: stop, updated: make(chan struct{}, 1)}
	g.meta.Gossip = ""
	g.encoded, _ = g.meta.encode() // settle did it before
	id := s.Meta.Name + "-" + strings.ToLower(rand.Text()[:12])
	g.roster = newRoster(s.Meta.Name)
	g.shutdown = sync.OnceValue(g.shutDown)
	if err := g.listen(ctx, id); err != nil {
		stop()
		return nil, fmt.Errorf("gossip: bind: %w", err)
	}
	g.writing.Go(g.journal.run)
	g.loops.Go(func() { g.rejoinLoop(ctx, g.rejoinSeeds) })
	g.loops.Go(func() { g.rejoinLoop(ctx, g.rejoinMissing) })
	g.loops.Go(func() { g.reconcileLoop(ctx) })
	g.loops.Go(func() { g.repeatLoop(ctx) })
	return g, nil
}

// listen opens the sockets and starts the gossip underneath.
func (g *Gossip) listen(ctx context.Context, id string) error {
	logger := log.New(g.journal, "", 0)
	t, err := newTransport(ctx, g.config, logger)
	if err != nil {
		return err
	}
	own := g.config.advertise
	if !own.IsValid() {
		own = g.config.bind.Addr()
	}
	g.addr = netip.AddrPortFrom(own, uint16(t.GetAutoBindPort()))

	if len(g.config.Keys) > 0 {
		keys := make([][]byte, len(g.config.Keys))
		for i, key := range g.config.Keys {
			keys[i] = bytes.Clone(key)
		}
		if g.keyring, err = memberlist.NewKeyring(keys, keys[0]); err != nil {
			_ = t.Shutdown()
			return err
		}
	}
	g.list, err = memberlist.Create(g.memberlistConfig(id, t, logger))
	if err != nil {
		_ = t.Shutdown()
	}
	return err
}

func (g *Gossip) memberlistConfig(id string, t *transport, logger *log.Logger) *memberlist.Config {
	timing := g.config.Timing
	d := &delegate{g: g}
	c := memberlist.DefaultLANConfig()
	c.Name = id
	c.Transport = t
	c.Label = g.config.Label
	c.Keyring = g.keyring
	c.AdvertiseAddr, c.AdvertisePort = g.addr.Addr().String(), int(g.addr.Port())
	c.BindAddr, c.BindPort = g.config.bind.Addr().String(), int(g.addr.Port())
	c.ProbeInterval, c.ProbeTimeout = timing.Probe, timing.ProbeTimeout
	c.SuspicionMult = 2
	c.GossipInterval = timing.Gossip
	c.GossipToTheDeadTime = timing.Dead
	c.PushPullInterval = timing.Sync
	c.EnableCompression = false // what members say is short: it would cost more than all else of it
	c.TCPTimeout = timing.Connect
	c.Delegate, c.Events, c.Alive, c.Merge = d, d, d, d
	c.Logger = logger
	return c
}

// Changes returns a channel that has something in it when it pays to look at Members again. Several
// changes may be one signal. It is never closed.
func (g *Gossip) Changes() <-chan struct{} { return g.roster.changes }

// Members returns the living members, this node included, by name. Of several lives of one name it is
// the one with the highest boot number, which for our own name need not be this one.
func (g *Gossip) Members() []Meta { return g.roster.members() }

// Joined tells whether this node has met another member since Start, and heard all that that one
// knows: also of an earlier life of this node.
func (g *Gossip) Joined() bool { return g.roster.hasJoined() }

// Highest returns the highest boot number that this node, or a member that it met, ever heard for a
// name, also of lives that are long over; 0 if there was none. (Of names that are gone, about the
// last thousand are known.)
func (g *Gossip) Highest(name string) uint64 { return g.roster.highest(name) }

// Addr returns the IP:port that others reach this node's gossip at.
func (g *Gossip) Addr() string { return g.addr.String() }

// Leave tells the others that this node is gone, and waits until some have heard it, for a second at
// most, or until ctx is done. It is best effort: who did not hear finds out by probing. Afterwards
// this node is no member, even of its own list, until another is started.
func (g *Gossip) Leave(ctx context.Context) error {
	g.mu.Lock()
	if g.left == nil && !g.down {
		g.left = make(chan struct{})
		g.stop()
		go func() {
			defer close(g.left)
			// An Update under way would bring us back to life.
			g.updating.Lock()
			defer g.updating.Unlock()
			g.leaveErr = g.list.Leave(leaveWithin)
		}()
	}
	left := g.left
	g.mu.Unlock()
	if left == nil {
		return nil
	}
	select {
	case <-left:
		if g.leaveErr != nil {
			return fmt.Errorf("gossip: leave: %w", g.leaveErr)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gossip: leave: %w", ctx.Err())
	}
}

// Shutdown ends all without a word to the others, after a Leave under way. It may be called at any
// time, several times.
func (g *Gossip) Shutdown() error { return g.shutdown() }

func (g *Gossip) shutDown() error {
	g.stop()
	g.mu.Lock()
	g.down = true
	left := g.left
	g.mu.Unlock()
	if left != nil {
		<-left
	}
	g.updating.Lock()
	err := g.list.Shutdown()
	g.updating.Unlock()
	g.loops.Wait()
	g.journal.close()
	g.writing.Wait()
	if err != nil {
		return fmt.Errorf("gossip: shutdown: %w", err)
	}
	return nil
}

// reconcileLoop compares all that is known with what the gossip underneath lists. Events alone keep
// them equal; this is for the day they do not.
func (g *Gossip) reconcileLoop(ctx context.Context) {
	ticker := time.NewTicker(g.config.Timing.Reconcile)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		version := g.roster.currentVersion()
		var ids []string
		for _, n := range g.list.Members() {
			ids = append(ids, n.Name) // the only field that never changes
		}
		if g.roster.reconcile(ids, version, time.Now()) {
			g.journal.warn("", "the list of members had to be put right")
		}
	}
}
