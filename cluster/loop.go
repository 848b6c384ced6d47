package cluster

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/cluster/gossip"
	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// do lets the machine do something, and sends and tells what comes of it.
func (n *Node) do(f func(m *ownership.Machine, now limiter.Instant)) {
	n.mu.Lock()
	if n.machine == nil {
		n.mu.Unlock()
		return
	}
	f(n.machine, n.Clock())
	ready := n.flushLocked()
	n.mu.Unlock()
	tellAll(ready)
}

// flushLocked sends what the machine has to say, and returns what is to be told once n.mu is
// free.
func (n *Node) flushLocked() (ready []outcome) {
	n.machine.Letters(n.transport.Send)
	moved := false
	n.machine.Touched(func(p limiter.PartitionID) {
		moved = n.publishLocked(p) || moved
		n.reviewLocked(p)
	})
	n.machine.Safer(n.reviewLocked)
	if moved {
		n.stir()
	}
	ready, n.waiters.ready = n.waiters.ready, nil
	return ready
}

// tick is the machine's clock.
func (n *Node) tick(ctx context.Context) {
	ticker := time.NewTicker(ownership.TickEvery)
	defer ticker.Stop()
	asleep := newSuspension()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.stalls.tick(n.Clock(), n)
			if d := asleep.since(); d > stallAfter {
				n.Log.Warn("this machine was suspended", "for", d.Round(time.Millisecond))
				n.stalls.refuse(n.Clock())
				n.do((*ownership.Machine).Slept)
			}
			n.do(n.tickLocked)
		}
	}
}

// tickLocked lets time pass, for the machine and for who waits.
func (n *Node) tickLocked(m *ownership.Machine, now limiter.Instant) {
	m.Tick(now)
	n.tellLossesLocked(m, now)
	for p := range n.waiters.of {
		n.reviewLocked(p)
	}
}

// wake is called by the table when there is something to copy.
func (n *Node) wake() {
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// replicate gives changes to the copies' streams: soon after they were made, and at once if
// somebody waits for it.
func (n *Node) replicate(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.waiters.woken:
			n.do(n.replicateNowLocked)
			continue
		case <-n.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-n.waiters.woken:
		case <-time.After(copyAfter):
		}
		n.do(n.replicateNowLocked)
	}
}

// soloAfter is how long a node that is to join none waits for others that know its name: of
// an earlier life, and so of a higher boot number. They call within this time.
const soloAfter = 600 * time.Millisecond

// follow follows the membership.
func (n *Node) follow(ctx context.Context) {
	alone := time.NewTimer(n.BootstrapAfter)
	defer alone.Stop()
	bootstrap := false
	if len(n.Join) == 0 {
		alone.Reset(soloAfter)
	}
	for {
		if bootstrap || n.gossip.Joined() {
			n.look()
		}
		select {
		case <-ctx.Done():
			return
		case <-n.gossip.Changes():
		case <-n.ended.changed:
		case <-alone.C:
			if !n.gossip.Joined() && len(n.Join) > 0 {
				n.Log.Warn("no other member was reached: starting alone", "join", n.Join, "after", n.BootstrapAfter)
			}
			bootstrap = true
		}
	}
}

// look takes the membership as it is now. It builds the view before it takes the lock.
func (n *Node) look() {
	n.looking.Lock() // so that no older look comes after a newer
	defer n.looking.Unlock()
	members := n.gossip.Members()
	n.riseAbove(n.gossip.Highest(n.Name))
	list := make([]ring.Member, 0, len(members)+1)
	peers := make([]peer.Address, 0, len(members)) // with those that have ended: they may live again
	list = append(list, ring.Member{Name: n.Name, Boot: n.Boot(), Draining: n.draining.Load()})
	for _, m := range members {
		if m.Name != n.Name {
			peers = append(peers, peer.Address{Name: m.Name, Addr: m.Peer})
		}
	}
	members = n.ended.without(members)
	for _, m := range members {
		if m.Name != n.Name {
			list = append(list, ring.Member{Name: m.Name, Boot: m.Boot, Draining: m.Draining})
		}
	}
	view, err := n.views.Build(list)
	if err != nil {
		n.Log.Error("no view can be built of the members", "error", err)
		return
	}
	n.transport.SetPeers(peers)
	n.refusing.Store(len(list) < n.MinMembers)
	tellAll(n.take(view, members))
}

// take goes by a new view from now on.
func (n *Node) take(view *ring.View, members []gossip.Meta) (ready []outcome) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view != nil && n.view.ID() == view.ID() {
		return nil
	}
	n.Log.Info("the cluster changed", changed(n.view, view)...)
	n.view = view
	n.counts.views.Add(1)
	if n.machine == nil {
		n.machine = n.newMachine()
		close(n.joined)
	}
	n.machine.SetView(n.Clock(), view)
	n.topology.members(view, members, n.meta())
	return n.flushLocked()
}

// riseAbove takes a higher boot number if another life of this name had one, unless this
// one has already begun.
func (n *Node) riseAbove(highest uint64) {
	n.mu.Lock()
	rise := n.machine == nil && highest > n.Boot()
	double := n.machine != nil && highest > n.Boot()
	if rise {
		n.boot.Store((highest>>16+1)<<16 | rand.Uint64N(1<<16))
	}
	n.mu.Unlock()
	switch {
	case rise:
		n.transport.SetBoot(n.Boot())
		n.retell()
	case double:
		n.supersede.Do(func() {
			n.Log.Error("another node has the name of this one, and is younger: names must be unique", "name", n.Name)
			close(n.superseded)
		})
	}
}

// ErrSuperseded is why a node ends of which a later life was seen.
var ErrSuperseded = errors.New("another node has the name of this one, and is younger")

// Superseded is closed when another node was seen that has the name of this one and is
// younger, or whose clock said so when it started. The others listen to that one only: this
// one should end, and when it starts again it will be the younger.
func (n *Node) Superseded() <-chan struct{} { return n.superseded }

// retell tells the others what this node is by now.
func (n *Node) retell() {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.mu.Lock()
	g := n.gossip
	n.mu.Unlock()
	if g == nil {
		return // which is starting, and told afterwards
	}
	if err := g.Update(n.meta()); err != nil {
		n.Log.Warn("the others were not told what became of this node", "error", err)
	}
}

// Boot returns the number of this life of the node.
func (n *Node) Boot() uint64 { return n.boot.Load() }

func (n *Node) newMachine() *ownership.Machine {
	note := n.note
	if !n.Log.Enabled(context.Background(), slog.LevelDebug) {
		note = nil // nothing is written down that nobody reads
	}
	return ownership.New(ownership.Config{
		Name: n.Name, Boot: n.Boot(), Partitions: n.Partitions, Store: n.table,
		EmptyFrame: peer.EmptyFrame, EmptyCopying: peer.EmptyCopying,
		Rand:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Horizon: n.rules.Load().Horizon, MinMembers: n.MinMembers, Lost: n.Lost, Start: n.Clock(), Note: note, Rejected: n.tellRejectedLocked,
	})
}

// handler is what the transport hands over to.
type handler Node

func (h *handler) Frame(from string, boot uint64, f *ownership.Frame) {
	h.ended.heard(from, boot)
	(*Node)(h).do(func(m *ownership.Machine, now limiter.Instant) { m.Receive(now, from, boot, f) })
}

func (h *handler) Copying(from string, boot uint64, c *ownership.Copying) {
	(*Node)(h).do(func(m *ownership.Machine, now limiter.Instant) { m.ReceiveCopying(now, from, boot, c) })
}

func (h *handler) Relinked(name string) {
	(*Node)(h).do(func(m *ownership.Machine, now limiter.Instant) { m.Relinked(now, name) })
}

func (h *handler) Gone(name string, boot uint64) {
	h.Log.Info("a node's process has ended", "node", name)
	h.ended.note(name, boot)
	(*Node)(h).do(func(m *ownership.Machine, now limiter.Instant) { m.Gone(now, name, boot) })
}

func (h *handler) Newer(boot uint64) { (*Node)(h).riseAbove(boot) }

// stalls notices that the process was paused. The calls that it reads in the first moments
// after it wakes are old: their callers have asked elsewhere since.
type stalls struct {
	ticked atomic.Int64 // limiter.Instant
	until  atomic.Int64 // limiter.Instant: calls are refused before
}

const (
	stallAfter  = ownership.Failover / 2
	refuseAfter = 100 * time.Millisecond
)

func (s *stalls) tick(now limiter.Instant, n *Node) {
	if gap := now.Sub(limiter.Instant(s.ticked.Swap(int64(now)))); gap > stallAfter {
		s.refuse(now)
		n.Log.Warn("this process was paused", "for", gap.Round(time.Millisecond))
	}
}

func (s *stalls) refuse(now limiter.Instant) { s.until.Store(int64(now.Add(refuseAfter))) }

// now tells whether calls are refused.
func (s *stalls) now(now limiter.Instant) bool {
	return int64(now) < s.until.Load() || now.Sub(limiter.Instant(s.ticked.Load())) > stallAfter
}
