package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// world is a simulated cluster.
type world struct {
	rand *rand.Rand
	now  moment
	agenda
	trace  *trace
	nodes  []*node
	byName map[string]*node

	partitions int
	limit      int
	window     time.Duration
	minMembers int
	net        network
	ledger     ledger
	views      map[uint64]*ring.View
	failed     error
}

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
	clock    clock
	machine  *ownership.Machine
	store    *store
	inbox    []func() // what arrived while it was paused
	woke     moment

	seen    []moment        // when gossip last reached each node
	after   []time.Duration // how long each may be unreachable before it is declared dead
	falsely []moment        // until when each is wrongly taken for dead
	alone   bool            // it may start without the others
	joined  bool
	view    uint64
	told    map[limiter.PartitionID]string // by the trace
}

// bootstrapAfter is when a node starts without having met another.
const bootstrapAfter = 3 * time.Second

func newWorld(seed uint64, nodes, partitions int, t *trace) *world {
	w := &world{
		rand: rand.New(rand.NewPCG(seed, 0x5eed)), trace: t, partitions: partitions,
		limit: 20, window: 2 * time.Second, minMembers: 1,
		byName: make(map[string]*node), views: make(map[uint64]*ring.View),
	}
	w.net.init(w, nodes)
	w.ledger.init(w)
	for i := range nodes {
		n := &node{w: w, name: fmt.Sprintf("n%d", i+1), index: i}
		w.nodes = append(w.nodes, n)
		w.byName[n.name] = n
	}
	return w
}

// between returns a duration at random.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rand.Int64N(int64(high-low)+1))
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

// run lets the agenda come to pass up to a moment, or the first failure.
func (w *world) run(until moment) {
	for w.failed == nil && len(w.items) > 0 && w.items[0].at <= until {
		it := heap.Pop(&w.items).(item)
		w.now = it.at
		it.do()
	}
	w.now = until
}

func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf("at %v: "+format, append([]any{time.Duration(w.now)}, args...)...)
	}
}

// start starts a node's process. alone: it need not meet another first.
func (n *node) start(alone bool) {
	w := n.w
	n.life++
	n.up, n.paused, n.draining, n.joined, n.alone, n.view = true, false, false, false, alone, 0
	n.boot++
	n.clock = clock{origin: limiter.Instant(w.between(time.Hour, 1000*time.Hour)), ppm: w.rand.Int64N(101) - 50}
	n.store = newStore(w.partitions, func() { n.later(2*time.Millisecond, func() { n.machine.Replicate(n.local()) }) })
	n.machine = ownership.New(ownership.Config{
		Name: n.name, Boot: n.boot, Partitions: w.partitions, Store: n.store,
		Rand: rand.New(rand.NewPCG(w.rand.Uint64(), 1)), Horizon: w.window, MinMembers: w.minMembers, Start: n.local(),
	})
	if w.trace != nil {
		n.machine.Note = func(p limiter.PartitionID, what string) { w.note("%s p%d: %s", n.name, p, what) }
	}
	n.seen = make([]moment, len(w.nodes))
	n.after = make([]time.Duration, len(w.nodes))
	n.falsely = make([]moment, len(w.nodes))
	for i := range n.seen {
		n.seen[i] = -1 << 60
		n.after[i] = w.between(1500*time.Millisecond, 2500*time.Millisecond)
	}
	n.told = make(map[limiter.PartitionID]string)
	n.woke = w.now
	w.put(w.now.after(bootstrapAfter), func() { n.alone = true })
	w.note("%s starts, boot %d", n.name, n.boot)
	n.tick(n.life)
	n.gossip(n.life)
	w.net.relink(n)
}

// local returns the node's clock.
func (n *node) local() limiter.Instant { return n.clock.at(n.w.now) }

// later lets a node do something unless it has died by then; if it is paused, when it wakes.
func (n *node) later(d time.Duration, do func()) {
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
		n.flush()
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
	n.machine.Letters(func(to string, l *ownership.Letters) {
		if l.Frame != nil {
			n.w.net.frame(n, n.w.byName[to], l.Frame)
		}
		if l.Copying != nil {
			n.w.net.copying(n, n.w.byName[to], l.Copying)
		}
	})
	n.machine.Touched(func(p limiter.PartitionID) {
		if n.w.trace != nil {
			if now := n.roleOf(p); now != n.told[p] {
				n.told[p] = now
				n.w.note("%s p%d: %s", n.name, p, now)
			}
		}
	})
	n.w.checkPermits(n)
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
			n.seen[o.index] = w.now
		}
		if w.now.since(n.seen[o.index]) < n.after[o.index] && w.now >= n.falsely[o.index] && !o.left() {
			members = append(members, ring.Member{Name: o.name, Boot: o.boot, Draining: o.draining})
		}
	}
	if !n.joined && len(members) < 2 && !n.alone {
		return
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

// left tells whether the node has said good-bye.
func (n *node) left() bool { return !n.up && n.draining }

// viewOf gives each partition to the member with the highest hash, and the next highest is
// its successor: the same for the same members, and stable as members come and go.
func (w *world) viewOf(members []ring.Member) *ring.View {
	owners, successors := make([]string, w.partitions), make([]string, w.partitions)
	for p := range w.partitions {
		type score struct {
			name string
			of   uint64
		}
		var scores []score
		for _, m := range members {
			if !m.Draining {
				h := uint64(p+1) * 0x9e3779b97f4a7c15
				for _, c := range m.Name {
					h = (h ^ uint64(c)) * 0x100000001b3
					h ^= h >> 29
				}
				scores = append(scores, score{m.Name, h})
			}
		}
		slices.SortFunc(scores, func(a, b score) int {
			if a.of > b.of {
				return -1
			}
			return 1
		})
		if len(scores) > 0 {
			owners[p] = scores[0].name
		}
		if len(scores) > 1 {
			successors[p] = scores[1].name
		}
	}
	v, err := ring.Of(members, owners, successors)
	if err != nil {
		panic(err)
	}
	w.views[v.ID()] = v
	return v
}

func describe(v *ring.View) string {
	s := fmt.Sprintf("view %x:", v.ID()&0xffff)
	for _, m := range v.Members() {
		s += " " + m.Name
		if m.Draining {
			s += "(draining)"
		}
	}
	for p := range v.Partitions() {
		s += fmt.Sprintf(" p%d=%s/%s", p, v.Owner(p), v.Successor(p))
	}
	return s
}

// What befalls nodes.

func (n *node) kill() {
	w := n.w
	w.note("%s is killed", n.name)
	w.ledger.excuse(n, w.killExcuse(n))
	n.end()
	w.net.ended(n)
}

func (n *node) end() {
	n.up = false
	n.life++
	n.inbox = nil
}

// pause stops the process; the kernel goes on.
func (n *node) pause(d time.Duration) {
	w := n.w
	if !n.up || n.paused {
		return
	}
	w.note("%s is paused for %v", n.name, d)
	if !w.covered() {
		w.ledger.forget(d + 3*time.Second) // the only copy may be asleep
	}
	w.ledger.excuse(n, w.killExcuse(n))
	n.paused = true
	n.pauses++
	life, pause := n.life, n.pauses
	w.put(w.now.after(d), func() {
		if n.life == life && n.paused && n.pauses == pause {
			n.resume()
		}
	})
}

func (n *node) resume() {
	w := n.w
	w.note("%s wakes", n.name)
	n.paused, n.woke = false, w.now
	if w.chance(0.5) {
		n.machine.Tick(n.local())
	}
	inbox := n.inbox
	n.inbox = nil
	for _, do := range inbox {
		do()
	}
	n.flush()
}

// drain lets a node hand over and leave.
func (n *node) drain() {
	if !n.up || n.draining {
		return
	}
	n.w.note("%s drains", n.name)
	n.draining = true
	n.drained(n.life, n.w.now)
}

func (n *node) drained(life int, began moment) {
	n.w.put(n.w.now.after(50*time.Millisecond), func() {
		if n.life != life {
			return
		}
		held, copies := n.machine.Holds()
		done := held == 0 && copies == 0 && !n.machine.Unsettled()
		if !n.paused && (done || n.w.now.since(began) > 30*time.Second || n.w.allDraining()) {
			n.w.note("%s leaves, holding %d", n.name, held)
			if !done {
				n.w.ledger.forget(5 * time.Second)
			}
			n.end()
			n.w.net.ended(n)
			return
		}
		n.drained(life, began)
	})
}

func (w *world) allDraining() bool {
	for _, n := range w.nodes {
		if n.up && !n.draining {
			return false
		}
	}
	return true
}

// killExcuse is how long before its death a node's hits may be lost.
func (w *world) killExcuse(n *node) time.Duration {
	if w.net.loss > 0 || w.net.troubled(n) {
		return ownership.Binding + 100*time.Millisecond
	}
	return 20 * time.Millisecond
}
