package sim

import (
	"fmt"
	"time"

	"github.com/overten/sluice/cluster/ownership"
)

// Options say how a seed is run.
type Options struct {
	Lines  int  // of the trace to keep: the last; 0: none
	Engine bool // state is kept in limiter.Tables, as it is by some seeds anyway
}

// Result is what a run came to.
type Result struct {
	Seed      uint64
	Err       error
	Trace     string // what happened last, if it was asked for
	Kind      string
	Nodes     int
	Engine    bool
	Answered  int // hits that clients were told of
	Denied    int
	Undecided int // times that a call had to wait
	Leases    int // granted and told
}

// The kinds of trouble.
const (
	moving    = iota // nodes join, drain and flap, also all at once
	pausing          // and are paused
	losing           // and the network is slow and loses messages
	dying            // and nodes are killed or vanish, and come back
	splitting        // and the network is cut anywhere
	kinds
)

var kindNames = [kinds]string{"moving", "pausing", "losing", "dying", "splitting"}

// How long the trouble lasts, in one piece or in several with calm between them, and the
// calm at the end; and how long before that all runs end.
const (
	trouble = 12 * time.Second
	burst   = 4 * time.Second
	calm    = 11 * time.Second
	idle    = 7 * time.Second
)

// Every so many seeds there are many partitions, whose states are heavy: more than may be under way to a
// node at a time. Else there are few, of which more happens in the same time.
const (
	manyEvery = 97
	many      = 40
	heavy     = 500 * time.Millisecond
)

// Run runs the simulation of a seed.
func Run(seed uint64, o Options) Result {
	var t *trace
	if o.Lines > 0 {
		t = &trace{most: o.Lines}
	}
	kind := int(seed % kinds)
	w := newWorld(seed, 0, 0, t)
	nodes := 2 + w.rand.IntN(4)
	if w.chance(0.1) {
		nodes = 2 + w.rand.IntN(11)
	}
	partitions := 1 + w.rand.IntN(2)
	if seed%manyEvery == 0 {
		partitions = many
	}
	w = newWorld(seed, nodes, partitions, t)
	if partitions == many {
		w.net.heavy = heavy
	}
	w.engine = o.Engine || seed/kinds%4 == 3
	if seed%8 == 3 {
		w.lost = ownership.LostClosed
	}
	if nodes > 2 && w.chance(0.15) {
		w.minMembers = 2
		if w.chance(0.5) {
			w.minMembers = nodes/2 + 1
		}
	}
	w.setUp(kind)
	end := w.misfortunes(kind)
	w.hits(w.between(3*time.Millisecond, 12*time.Millisecond), 3, end.after(calm))
	w.runs(w.between(30*time.Millisecond, 150*time.Millisecond), 2, end.after(calm-idle))
	w.keepWatch()
	w.run(end)
	w.pacify()
	w.run(end.after(calm))
	if w.failed == nil {
		w.checkCalm()
		w.checkNone()
	}
	r := Result{
		Seed: seed, Err: w.failed, Kind: kindNames[kind], Nodes: nodes, Engine: w.engine,
		Answered: w.ledger.answered, Denied: w.ledger.denied, Undecided: w.ledger.undecided, Leases: w.leases.granted,
	}
	if t != nil {
		r.Trace = t.String()
	}
	return r
}

// setUp starts the first nodes: one by itself, or several that must meet.
func (w *world) setUp(kind int) {
	if kind == losing {
		w.net.loss, w.net.slowly = 0.02, 0.05
		if w.chance(0.5) {
			w.net.late = 0.003
		}
	}
	if kind >= pausing && w.chance(0.3) {
		w.ambush = ambush{left: 1 + w.rand.IntN(3), kills: kind >= dying}
	}
	first := 1 + w.rand.IntN(len(w.nodes))
	together := first > 1 && w.chance(0.5)
	for i := range first {
		n := w.nodes[i]
		w.put(moment(w.between(0, 500*time.Millisecond)), func() {
			if !n.up {
				n.start(!together && i == 0)
			}
		})
	}
}

// misfortunes puts down what is to befall the nodes, and returns when it is over.
func (w *world) misfortunes(kind int) (end moment) {
	if w.chance(0.1) { // again after a calm, in which the cluster comes to rest
		for range 2 {
			from := end.after(time.Second)
			end = from.after(burst)
			w.befallIn(kind, from, end, 1+w.rand.IntN(4))
			end = end.after(w.between(most, most+5*time.Second))
			w.put(end.after(-most-time.Second), w.mend)
		}
	}
	from := end.after(time.Second)
	if w.chance(0.7) {
		from = end.after(4 * time.Second)
	}
	end = end.after(trouble)
	w.befallIn(kind, from, end, 2+w.rand.IntN(8))
	return end
}

func (w *world) befallIn(kind int, from, to moment, times int) {
	for range times {
		w.put(from.after(w.between(0, to.since(from))), func() { w.befall(kind, w.anyNode()) })
	}
}

func (w *world) befall(kind int, n *node) {
	what := w.rand.IntN(5)
	if kind > moving && w.chance(0.5) {
		what = 5 + w.rand.IntN(kind)
	}
	switch what {
	case 0:
		if !n.up {
			n.start(false)
		}
	case 1:
		w.leave(n)
	case 2:
		w.flap(n)
	case 3:
		w.slander(n)
	case 4: // one comes, another goes
		if o := w.anyNode(); !o.up {
			o.start(false)
		}
		w.leave(n)
	case 5:
		if w.chance(0.4) {
			w.ambush = ambush{left: 1 + w.rand.IntN(3), kills: kind >= dying}
			return
		}
		n.pause(w.between(10*time.Millisecond, 4*time.Second))
	case 6:
		w.net.slowly, w.net.loss = 0.1, 0.05
	case 7:
		w.strike(n)
	case 8:
		w.split(n)
	}
}

func (w *world) upCount() (up int) {
	for _, n := range w.nodes {
		if n.up && !n.draining {
			up++
		}
	}
	return up
}

// leave lets a node drain, if another stays, and come back some time.
func (w *world) leave(n *node) {
	if w.upCount() > 1 {
		n.drain()
		n.restart(w.between(time.Second, 8*time.Second))
	}
}

// flap lets some nodes see a member go and come back in quick succession, once or more.
func (w *world) flap(n *node) {
	for i := range 1 + w.rand.IntN(3) {
		w.put(w.now.after(time.Duration(i)*400*time.Millisecond), func() {
			for _, o := range w.nodes {
				if o != n && o.up && w.chance(0.7) {
					d := w.between(50*time.Millisecond, 600*time.Millisecond)
					w.disturb(d)
					o.falsely[n.index] = w.now.after(d)
				}
			}
		})
	}
}

// slander lets one node take another for dead for longer.
func (w *world) slander(n *node) {
	o := w.anyNode()
	if o != n && o.up {
		w.note("%s takes %s for dead", o.name, n.name)
		d := w.between(time.Second, 3*time.Second)
		w.disturb(d)
		o.falsely[n.index] = w.now.after(d)
	}
}

// strike kills a node, sometimes another with it, and starts it again at once, later, or
// not before calm has returned.
func (w *world) strike(n *node) {
	struck := []*node{n}
	if w.chance(0.2) {
		struck = append(struck, w.anyNode())
	}
	for _, n := range struck {
		if !n.up {
			continue
		}
		if w.chance(0.3) {
			n.vanish()
		} else {
			n.kill()
		}
		switch w.rand.IntN(5) {
		case 0, 1:
			n.restart(w.between(10*time.Millisecond, time.Second))
		case 2, 3:
			n.restart(w.between(time.Second, 6*time.Second))
		}
	}
}

// split cuts the cluster, or one direction between two nodes, for a while.
func (w *world) split(n *node) {
	d := w.between(100*time.Millisecond, 6*time.Second)
	if !w.oneSided() {
		w.ledger.forget(d + 4*time.Second)
	}
	w.disturb(d)
	if w.chance(0.4) {
		o := w.anyNode()
		w.note("%s no longer reaches %s", n.name, o.name)
		w.net.sever(n, o, true)
	} else {
		side := make([]bool, len(w.nodes))
		for i := range side {
			side[i] = w.chance(0.5)
		}
		w.note("the network splits %v", side)
		w.net.split(func(n *node) bool { return side[n.index] })
	}
	w.put(w.now.after(d), func() {
		w.note("the network heals")
		w.net.heal()
	})
}

// oneSided tells whether of a split only one side goes on, with all that was answered: a
// partition's holder and copy are never both on the other.
func (w *world) oneSided() bool { return len(w.nodes) == 3 && w.minMembers == 2 }

// mend ends what would not end by itself.
func (w *world) mend() {
	w.net.heal()
	for _, n := range w.nodes {
		if n.up && n.paused {
			n.resume()
		}
	}
	if w.ledger.doubtful > w.now {
		w.ledger.forget(4 * time.Second)
	}
	for _, n := range w.nodes {
		if !n.up && w.upCount() < w.minMembers {
			n.start(true)
		}
	}
}

// pacify ends all trouble.
func (w *world) pacify() {
	w.note("calm")
	w.disturb(0)
	w.ambush.left = 0
	w.net.loss, w.net.slowly, w.net.late = 0, 0, 0
	for _, n := range w.nodes {
		clear(n.falsely)
	}
	w.mend()
}

// String tells the result in a line.
func (r Result) String() string {
	state, kept := "ok", ""
	if r.Err != nil {
		state = r.Err.Error()
	}
	if r.Engine {
		kept = ", engine"
	}
	return fmt.Sprintf("seed %d (%s, %d nodes%s, %d admitted, %d denied, %d leases): %s", r.Seed, r.Kind, r.Nodes, kept, r.Answered, r.Denied, r.Leases, state)
}
