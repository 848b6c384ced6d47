package sim

import (
	"time"

	"github.com/overten/sluice/cluster/ownership"
)

// network carries what nodes send. Frames are lost, doubled and reordered; what is copied
// comes in order, or the link begins anew.
type network struct {
	w           *world
	fast, slow  time.Duration // delays
	slowly      float64       // how often the delay is the slow one
	late        float64       // how often it is seconds
	loss        float64       // of frames, and of links for copies
	heavy       time.Duration // how much longer states may take
	cut         [][]bool
	changed     [][]moment // when cut last changed
	lastCopying [][]moment // when the last of a link arrives
	session     [][]int    // of a link for copies
}

func (k *network) init(w *world, n int) {
	k.w = w
	k.fast, k.slow = 3*time.Millisecond, 30*time.Millisecond
	for range n {
		k.cut = append(k.cut, make([]bool, n))
		k.changed = append(k.changed, make([]moment, n))
		k.lastCopying = append(k.lastCopying, make([]moment, n))
		k.session = append(k.session, make([]int, n))
	}
	for i := range k.changed {
		for j := range k.changed[i] {
			k.changed[i][j] = never
		}
	}
}

func (k *network) delay() time.Duration {
	if k.late > 0 && k.w.chance(k.late) {
		return k.w.between(50*time.Millisecond, 3*time.Second)
	}
	if k.slowly > 0 && k.w.chance(k.slowly) {
		return k.w.between(k.fast, k.slow)
	}
	return k.w.between(100*time.Microsecond, k.fast)
}

func (k *network) reaches(from, to *node) bool {
	return !k.cut[from.index][to.index] && !k.cut[to.index][from.index]
}

// frame carries a frame.
func (k *network) frame(from, to *node, f *ownership.Frame) {
	copies := 1
	if k.loss > 0 && k.w.chance(k.loss) {
		copies = k.w.rand.IntN(3) // lost, or doubled
	}
	name, boot := from.name, from.boot
	for range copies {
		k.bring(from, to, k.delay(), func() { to.machine.Receive(to.local(), name, boot, f) })
	}
}

// carry brings something from a node to another.
func (k *network) carry(from, to *node, d time.Duration, do func()) {
	life, sender := to.life, from.life
	k.w.put(k.w.now.after(d), func() {
		if !k.cut[from.index][to.index] && from.vanished != sender {
			to.deliver(life, do)
		}
	})
}

// bring is carry for what the machine of the receiver takes.
func (k *network) bring(from, to *node, d time.Duration, do func()) {
	k.carry(from, to, d, func() {
		do()
		to.flush()
	})
}

// copying carries what is copied, in order.
func (k *network) copying(from, to *node, c *ownership.Copying) {
	i, j := from.index, to.index
	if k.cut[i][j] {
		return
	}
	if k.loss > 0 && k.w.chance(k.loss/4) {
		k.restart(from, to, k.w.between(time.Millisecond, 100*time.Millisecond))
		return
	}
	d := k.delay()
	if k.heavy > 0 && len(c.Snapshots) > 0 {
		d += k.w.between(0, k.heavy)
	}
	at := max(k.w.now.after(d), k.lastCopying[i][j])
	k.lastCopying[i][j] = at
	session := k.session[i][j]
	name, boot := from.name, from.boot
	k.bring(from, to, at.since(k.w.now), func() {
		if k.session[i][j] == session {
			to.machine.ReceiveCopying(to.local(), name, boot, c)
		}
	})
}

// restart ends a link for copies and begins it anew.
func (k *network) restart(from, to *node, d time.Duration) {
	k.session[from.index][to.index]++
	name := to.name
	from.later(d, func() { from.machine.Relinked(from.local(), name) })
}

// sever cuts or heals one direction between two nodes.
func (k *network) sever(from, to *node, cut bool) {
	i, j := from.index, to.index
	k.w.disturb(0)
	if k.cut[i][j] == cut || i == j {
		return
	}
	k.cut[i][j] = cut
	k.changed[i][j], k.changed[j][i] = k.w.now, k.w.now
	if !cut {
		if from.up {
			k.restart(from, to, k.w.between(time.Millisecond, 100*time.Millisecond))
		}
	}
}

// split cuts the nodes of one side from the others.
func (k *network) split(side func(*node) bool) {
	for _, a := range k.w.nodes {
		for _, b := range k.w.nodes {
			k.sever(a, b, side(a) != side(b))
		}
	}
}

// heal heals everything.
func (k *network) heal() {
	for _, a := range k.w.nodes {
		for _, b := range k.w.nodes {
			k.sever(a, b, false)
		}
	}
}

// relink begins the links to a node that has started.
func (k *network) relink(n *node) {
	for _, o := range k.w.nodes {
		if o != n && o.up && !k.cut[o.index][n.index] {
			k.restart(o, n, k.w.between(time.Millisecond, 50*time.Millisecond))
		}
	}
}

// ended tells all that a node's process has ended: who can reach it is refused.
func (k *network) ended(n *node) {
	name, boot := n.name, n.boot
	for _, o := range k.w.nodes {
		if o == n || !o.up || !k.reaches(o, n) {
			continue
		}
		at := max(k.w.now.after(k.w.between(k.fast, 20*time.Millisecond)), k.lastCopying[n.index][o.index].after(time.Microsecond))
		o.later(at.since(k.w.now), func() {
			if !n.up || n.boot > boot {
				o.machine.Gone(o.local(), name, boot)
			}
		})
	}
}

// troubled tells whether any link of a node was cut lately.
func (k *network) troubled(n *node) bool {
	for _, o := range k.w.nodes {
		if k.cut[n.index][o.index] || k.cut[o.index][n.index] || k.w.now.since(k.changed[n.index][o.index]) < 2*time.Second {
			return true
		}
	}
	return false
}

// poor tells whether messages are slow or lost.
func (k *network) poor() bool { return k.slowly > 0 || k.late > 0 || k.loss > 0 }

// slack is by how much what moved between nodes may expire late.
func (k *network) slack() time.Duration {
	if k.poor() {
		return 20*time.Millisecond + 4*(k.fast+k.slow)
	}
	return 20*time.Millisecond + 4*k.fast
}
