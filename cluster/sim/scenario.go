// Package sim runs whole clusters of the ownership machine in virtual time: nodes that
// start, drain, die, are paused anywhere, lose messages and each other, while clients ask.
// After every step it checks what the machine promises:
//
//   - of nodes that reach each other no two are permitted to decide for one partition,
//     from 150 ms after they could reach each other or woke;
//   - no key is admitted more than its limit in any window of true time, but for what a
//     node admitted in the last moments before it died;
//   - no key is denied what it has;
//   - when calm returns, within 10 s each partition has one holder, the view's owner, with
//     a complete copy at its successor, and nothing is left to be told.
//
// A run is given by its seed: the same seed, the same run. What fails is printed with it.
package sim

import (
	"fmt"
	"time"

	"github.com/overten/sluice/limiter"
)

// Result is what a run came to.
type Result struct {
	Seed      uint64
	Err       error
	Trace     string // what happened last, if it was asked for
	Kind      string
	Nodes     int
	Answered  int // hits that clients were told of
	Denied    int
	Undecided int // times that a call had to wait
}

// The kinds of trouble.
const (
	moving    = iota // nodes join, drain and flap, also all at once
	pausing          // and are paused
	losing           // and the network is slow and loses messages
	dying            // and nodes are killed, and come back
	splitting        // and the network is cut anywhere
	kinds
)

var kindNames = [kinds]string{"moving", "pausing", "losing", "dying", "splitting"}

// How long the trouble lasts, and the calm after it.
const (
	trouble = 12 * time.Second
	calm    = 10 * time.Second
)

// Run runs the simulation of a seed. It keeps the last lines of its trace, 0: none.
func Run(seed uint64, lines int) Result {
	var t *trace
	if lines > 0 {
		t = &trace{most: lines}
	}
	kind := int(seed % kinds)
	w := newWorld(seed, 0, 0, t)
	nodes := 2 + w.rand.IntN(4)
	if w.chance(0.1) {
		nodes = 2 + w.rand.IntN(11)
	}
	w = newWorld(seed, nodes, 1+w.rand.IntN(2), t)
	w.setUp(kind)
	end := moment(trouble)
	w.requests(w.between(3*time.Millisecond, 12*time.Millisecond), 3, end.after(calm))
	w.misfortunes(kind, end)
	w.run(end)
	w.pacify()
	w.run(end.after(calm))
	if w.failed == nil {
		w.checkCalm()
	}
	r := Result{Seed: seed, Err: w.failed, Kind: kindNames[kind], Nodes: nodes, Answered: w.ledger.answered, Denied: w.ledger.denied, Undecided: w.ledger.undecided}
	if t != nil {
		r.Trace = t.String()
	}
	return r
}

// setUp starts the first nodes: one by itself, or several that must meet.
func (w *world) setUp(kind int) {
	if kind == losing {
		w.net.loss, w.net.slowly = 0.02, 0.05
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

// misfortunes puts down what is to befall the nodes.
func (w *world) misfortunes(kind int, end moment) {
	from := moment(time.Second)
	if w.chance(0.7) {
		from = moment(4 * time.Second)
	}
	for range 2 + w.rand.IntN(8) {
		at := from.after(w.between(0, end.since(from)))
		n := w.nodes[w.rand.IntN(len(w.nodes))]
		w.put(at, func() { w.befall(kind, n) })
	}
}

func (w *world) befall(kind int, n *node) {
	what := w.rand.IntN(4)
	if kind > moving && w.chance(0.5) {
		what = 4 + w.rand.IntN(kind)
	}
	switch what {
	case 0:
		if !n.up {
			n.start(false)
		}
	case 1:
		if w.upCount() > 1 {
			n.drain()
			w.put(w.now.after(w.between(time.Second, 8*time.Second)), func() {
				if !n.up {
					n.start(false)
				}
			})
		}
	case 2:
		w.flap(n)
	case 3:
		w.slander(n)
	case 4:
		n.pause(w.between(10*time.Millisecond, 4*time.Second))
	case 5:
		w.net.slowly, w.net.loss = 0.1, 0.05
	case 6:
		w.strike(n)
	case 7:
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

// flap lets some nodes see a member go and come back in quick succession.
func (w *world) flap(n *node) {
	for _, o := range w.nodes {
		if o != n && o.up && w.chance(0.7) {
			o.falsely[n.index] = w.now.after(w.between(50*time.Millisecond, 600*time.Millisecond))
		}
	}
}

// slander lets one node take another for dead for longer.
func (w *world) slander(n *node) {
	o := w.nodes[w.rand.IntN(len(w.nodes))]
	if o != n && o.up {
		w.note("%s takes %s for dead", o.name, n.name)
		o.falsely[n.index] = w.now.after(w.between(time.Second, 3*time.Second))
	}
}

// strike kills a node, sometimes another with it, and starts it again sooner or later.
func (w *world) strike(n *node) {
	struck := []*node{n}
	if w.chance(0.2) {
		struck = append(struck, w.nodes[w.rand.IntN(len(w.nodes))])
	}
	for i, n := range struck {
		if !n.up {
			continue
		}
		if i > 0 || !w.covered() {
			w.ledger.forget(5 * time.Second) // holder and copy may both be gone
		}
		n.kill()
		w.put(w.now.after(w.between(50*time.Millisecond, 5*time.Second)), func() {
			if !n.up {
				n.start(false)
			}
		})
	}
}

// covered tells whether each partition that is held at all has a copy, on nodes that work.
func (w *world) covered() bool {
	for p := range w.partitions {
		safe := false
		for _, n := range w.nodes {
			if !n.permitted(p) {
				continue
			}
			for _, name := range n.machine.Copies(limiter.PartitionID(p)) {
				if c := w.byName[name]; c.up && !c.paused {
					safe = true
				}
			}
		}
		if !safe {
			return false
		}
	}
	return true
}

// split cuts the cluster, or one direction between two nodes, for a while.
func (w *world) split(n *node) {
	d := w.between(100*time.Millisecond, 6*time.Second)
	w.ledger.forget(d + 4*time.Second)
	if w.chance(0.4) {
		o := w.nodes[w.rand.IntN(len(w.nodes))]
		w.note("%s no longer reaches %s", n.name, o.name)
		w.net.sever(n, o, true)
	} else {
		side := make([]bool, len(w.nodes))
		for i := range side {
			side[i] = w.chance(0.5)
		}
		w.note("the network splits %v", side)
		for i, a := range w.nodes {
			for j, b := range w.nodes {
				w.net.sever(a, b, side[i] != side[j])
			}
		}
	}
	w.put(w.now.after(d), func() {
		w.note("the network heals")
		w.net.heal()
	})
}

// pacify ends all trouble.
func (w *world) pacify() {
	w.note("calm")
	w.net.heal()
	w.net.loss, w.net.slowly = 0, 0
	any := false
	for _, n := range w.nodes {
		if n.up && n.paused {
			n.resume()
		}
		if n.up && !n.draining {
			any = true
		}
		for i := range n.falsely {
			n.falsely[i] = 0
		}
	}
	if !any {
		for _, n := range w.nodes {
			if !n.up {
				n.start(true)
				break
			}
		}
	}
	if w.ledger.doubtful > w.now {
		w.ledger.forget(4 * time.Second)
	}
}

// String tells the result in a line.
func (r Result) String() string {
	state := "ok"
	if r.Err != nil {
		state = r.Err.Error()
	}
	return fmt.Sprintf("seed %d (%s, %d nodes, %d admitted, %d denied): %s", r.Seed, r.Kind, r.Nodes, r.Answered, r.Denied, state)
}
