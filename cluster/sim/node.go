package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// node is one machine and its process, which may be up, paused or down.
type node struct {
	w     *world
	name  string
	index int

	up       bool
	paused   bool
	pauses   int
	draining bool
	boot     uint64
	life     int // counts starts and ends, so that what was put down for an earlier life is void
	vanished int // the last life that ended without a word
	clock    clock
	machine  *ownership.Machine
	store    store
	inbox    []func() // what arrived while it was paused
	woke     moment

	seen    []moment        // when gossip last reached each node
	met     []moment        // when it first did, in both present lives
	after   []time.Duration // how long each may be unreachable before it is declared dead
	falsely []moment        // until when each is wrongly taken for dead
	alone   bool            // it may start without the others
	joined  bool
	view    uint64
	told    map[limiter.PartitionID]string // by the trace
}

// bootstrapAfter is when a node starts without having met another.
const bootstrapAfter = 3 * time.Second

// start starts a node's process. alone: it need not meet another first.
func (n *node) start(alone bool) {
	w := n.w
	n.life++
	n.up, n.paused, n.draining, n.joined, n.alone, n.view = true, false, false, false, alone, 0
	n.boot++
	n.clock = clock{origin: limiter.Instant(w.between(time.Hour, 1000*time.Hour)), ppm: w.rand.Int64N(101) - 50}
	n.store = w.newStore(func() {
		n.later(w.between(2*time.Millisecond, 4*time.Millisecond), func() { n.machine.Replicate(n.local()) })
	})
	n.machine = ownership.New(ownership.Config{
		Name: n.name, Boot: n.boot, Partitions: w.partitions, Store: prolonging{n.store, w},
		Rand: rand.New(rand.NewPCG(w.rand.Uint64(), 1)), Horizon: w.window, MinMembers: w.minMembers, Lost: w.lost, Start: n.local(),
	})
	n.machine.Rejected = func(p limiter.PartitionID, from string, err error) {
		w.fail("%s does not take what %s sent of partition %d: %v", n.name, from, p, err)
	}
	if w.trace != nil {
		n.machine.Note = func(p limiter.PartitionID, what string) { w.note("%s p%d: %s", n.name, p, what) }
	}
	n.seen = make([]moment, len(w.nodes))
	n.met = make([]moment, len(w.nodes))
	n.after = make([]time.Duration, len(w.nodes))
	n.falsely = make([]moment, len(w.nodes))
	for i := range n.seen {
		n.seen[i], n.met[i] = never, 1<<60
		n.after[i] = w.between(1500*time.Millisecond, 2500*time.Millisecond)
		if o := w.nodes[i]; o.met != nil {
			o.met[n.index] = 1 << 60 // it met another life
		}
	}
	n.told = make(map[limiter.PartitionID]string)
	n.woke = w.now
	w.put(w.now.after(bootstrapAfter), func() { n.alone = true })
	w.note("%s starts, boot %d", n.name, n.boot)
	w.disturb(0)
	n.tick(n.life)
	n.gossip(n.life)
	w.net.relink(n)
}

func (w *world) newStore(wake func()) store {
	if w.engine {
		return newEngine(w.partitions, w.window, wake)
	}
	return newNaive(w.partitions, wake)
}

// local returns the node's clock.
func (n *node) local() limiter.Instant { return n.clock.at(n.w.now) }

// later lets a node's machine do something unless it has died by then; if it is paused,
// when it wakes.
func (n *node) later(d time.Duration, do func()) {
	n.soon(d, func() {
		do()
		n.flush()
	})
}

// soon is later for what does not touch the machine.
func (n *node) soon(d time.Duration, do func()) {
	life := n.life
	n.w.put(n.w.now.after(d), func() { n.deliver(life, do) })
}

func (n *node) deliver(life int, do func()) {
	switch {
	case n.life != life || !n.up:
	case n.paused:
		n.inbox = append(n.inbox, do)
	default:
		do()
	}
}

// tick is the driver's ticker.
func (n *node) tick(life int) {
	n.w.put(n.w.now.after(n.w.between(45*time.Millisecond, 55*time.Millisecond)), func() {
		if n.life != life {
			return
		}
		if !n.paused {
			n.machine.Tick(n.local())
			n.flush()
		}
		n.tick(life)
	})
}

// flush sends what the machine has to say, and checks what it permits.
func (n *node) flush() {
	if !n.up || n.paused {
		return
	}
	turned := false
	n.machine.Touched(func(p limiter.PartitionID) {
		turned = true
		n.tell(p)
	})
	n.machine.Safer(func(limiter.PartitionID) { turned = true })
	fate := goesOn
	if turned {
		fate = n.w.ambush.fate(n.w)
	}
	life := n.life
	n.machine.Letters(func(to string, l *ownership.Letters) {
		switch fate {
		case pausedBefore:
			n.inbox = append(n.inbox, func() { n.send(to, l) })
		case killedBefore:
		default:
			n.send(to, l)
		}
	})
	n.w.checkPermits(n)
	if n.life == life {
		n.meet(fate)
	}
}

func (n *node) send(to string, l *ownership.Letters) {
	if l.Frame != nil {
		n.w.net.frame(n, n.w.byName[to], l.Frame)
	}
	if l.Copying != nil {
		n.w.net.copying(n, n.w.byName[to], l.Copying)
	}
}

// tell tells the trace, and the story, what a node is to a partition.
func (n *node) tell(p limiter.PartitionID) {
	if n.w.trace == nil && n.w.say == nil {
		return
	}
	was, now := n.told[p], n.roleOf(p)
	if was == now {
		return
	}
	n.told[p] = now
	n.w.note("%s p%d: %s", n.name, p, now)
	switch {
	case n.w.say == nil:
	case strings.HasPrefix(now, "holds"):
		n.w.say(n.name + " " + now)
	case strings.HasPrefix(was, "holds"):
		n.w.say(n.name + " no longer holds")
	}
}

// roleOf tells what a node is to a partition.
func (n *node) roleOf(p limiter.PartitionID) string {
	r := n.machine.Route(p)
	if !r.Held {
		return fmt.Sprintf("looks to %q, %v", r.Holder, r.Gen)
	}
	permitted := "not permitted"
	if n.permitted(int(p)) {
		permitted = "permitted"
	}
	return fmt.Sprintf("holds %v, %s, copies at %v", r.Gen, permitted, n.machine.Copies(p))
}

// permitted tells whether a node decides for a partition now.
func (n *node) permitted(p int) bool {
	if !n.up || n.paused {
		return false
	}
	until, _ := n.store.permitOf(limiter.PartitionID(p))
	return n.local() < until
}

// gossip is the node's failure detector: it learns of members with delay.
func (n *node) gossip(life int) {
	n.w.put(n.w.now.after(n.w.between(50*time.Millisecond, 250*time.Millisecond)), func() {
		if n.life != life {
			return
		}
		if !n.paused {
			n.look()
			n.flush()
		}
		n.gossip(life)
	})
}

func (n *node) look() {
	w := n.w
	var members []ring.Member
	for _, o := range w.nodes {
		if o == n {
			members = append(members, ring.Member{Name: n.name, Boot: n.boot, Draining: n.draining})
			continue
		}
		if o.up && !o.paused && w.net.reaches(n, o) {
			n.seen[o.index], n.met[o.index] = w.now, min(n.met[o.index], w.now)
		}
		if w.now.since(n.seen[o.index]) < n.after[o.index] && w.now >= n.falsely[o.index] && !o.left() {
			members = append(members, ring.Member{Name: o.name, Boot: o.boot, Draining: o.draining})
		}
	}
	if !n.joined && len(members) < 2 && !n.alone {
		return
	}
	met := func(m ring.Member) bool { return w.byName[m.Name].has() }
	if !n.joined && !slices.ContainsFunc(members, met) && slices.ContainsFunc(w.nodes, (*node).has) {
		w.lose() // these begin with nothing what others have
	}
	n.joined = true
	v := w.viewOf(members)
	if v.ID() != n.view {
		n.view = v.ID()
		if w.trace != nil {
			w.note("%s sees %s", n.name, describe(v))
		}
		n.machine.SetView(n.local(), v)
	}
}

// has tells whether the node holds anything, or has a copy.
func (n *node) has() bool {
	if !n.up {
		return false
	}
	held, copies := n.machine.Holds()
	return held+copies > 0
}

// left tells whether the node has said good-bye.
func (n *node) left() bool { return !n.up && n.draining }
