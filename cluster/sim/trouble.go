package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// What befalls nodes.

// kill ends a process; its kernel tells who asks.
func (n *node) kill() {
	n.w.note("%s is killed", n.name)
	n.end()
	n.w.net.ended(n)
}

// vanish ends a machine: nobody is told, and what it sent last does not arrive.
func (n *node) vanish() {
	n.w.note("%s vanishes", n.name)
	n.vanished = n.life
	n.end()
}

// end ends this life of a node. What it admitted last may be lost, and more if nobody has
// a copy.
func (n *node) end() {
	w := n.w
	w.disturb(0)
	w.ledger.excuse(n, w.excuse(n))
	w.leases.excuse(w.excuse(n))
	covered := w.covered()
	n.up = false
	n.life++
	n.inbox = nil
	if !covered {
		w.lose()
	}
}

// pause stops the process; the kernel goes on.
func (n *node) pause(d time.Duration) {
	w := n.w
	if !n.up || n.paused {
		return
	}
	w.note("%s is paused for %v", n.name, d)
	w.disturb(d)
	if !w.covered() {
		w.ledger.forget(d + 3*time.Second) // the only copy may be asleep
	}
	w.ledger.excuse(n, w.excuse(n))
	w.leases.excuse(w.excuse(n))
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
	w.disturb(0)
	n.paused, n.woke = false, w.now
	if w.chance(0.5) {
		n.machine.Tick(n.local())
	}
	inbox, life := n.inbox, n.life
	n.inbox = nil
	for _, do := range inbox {
		n.deliver(life, do)
	}
	n.flush()
}

// drain lets a node hand over and leave.
func (n *node) drain() {
	if !n.up || n.draining {
		return
	}
	n.w.note("%s drains", n.name)
	n.w.disturb(0)
	n.draining = true
	n.drained(n.life, n.w.now)
}

func (n *node) drained(life int, began moment) {
	w := n.w
	w.put(w.now.after(50*time.Millisecond), func() {
		if n.life != life {
			return
		}
		held, copies := n.machine.Holds()
		done := held == 0 && copies == 0 && !n.machine.Unsettled()
		if n.paused || !done && w.now.since(began) <= 30*time.Second && !w.allDraining() {
			n.drained(life, began)
			return
		}
		w.note("%s leaves, holding %d", n.name, held)
		if w.say != nil {
			w.say(n.name + " leaves")
		}
		if !done {
			w.lose()
		}
		w.disturb(0)
		n.up = false
		n.life++
		n.inbox = nil
		w.net.ended(n)
		if w.upCount() < w.minMembers {
			n.restart(time.Second)
		}
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

// lose lets all that there was be lost.
func (w *world) lose() {
	w.ledger.forget(5 * time.Second)
	w.leases.lost = w.now
}

// excuse is how long before its death a node's hits may be lost: until they are taken, and
// have reached the copy; over a poor network until they are sent again.
func (w *world) excuse(n *node) time.Duration {
	if w.net.poor() || w.net.troubled(n) {
		return 300 * time.Millisecond
	}
	return 8 * time.Millisecond
}

// covered tells whether each partition that is held at all has a copy that stays, on nodes
// that work.
func (w *world) covered() bool {
	for p := range w.partitions {
		safe := false
		for _, n := range w.nodes {
			if !n.permitted(p) {
				continue
			}
			for _, name := range n.machine.Copies(limiter.PartitionID(p)) {
				if c := w.byName[name]; c.up && !c.paused && !n.machine.Leaving(limiter.PartitionID(p), name) {
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

// ambush strikes nodes at the moment in which a partition takes a turn, in a round, a
// handoff, a copy that is registered or dropped, or in which a client is told of a lease.
type ambush struct {
	left  int // how many are to come
	kills bool
}

// fate is what an ambush does to a node, before or after it sends what it has to say.
type fate uint8

const (
	goesOn fate = iota
	pausedBefore
	pausedAfter
	killedBefore
	killedAfter
)

func (a *ambush) fate(w *world) fate {
	if a.left == 0 || !w.chance(0.3) {
		return goesOn
	}
	a.left--
	if a.kills && w.chance(0.5) {
		return killedBefore + fate(w.rand.IntN(2))
	}
	return pausedBefore + fate(w.rand.IntN(2))
}

// meet lets a node meet its fate.
func (n *node) meet(f fate) {
	w := n.w
	switch f {
	case pausedBefore, pausedAfter:
		n.pause(w.between(10*time.Millisecond, 2*time.Second))
	case killedBefore, killedAfter:
		if w.chance(0.5) {
			n.kill()
		} else {
			n.vanish()
		}
		n.restart(w.between(50*time.Millisecond, 3*time.Second))
	}
}

// restart starts a node again after a while, unless it is up by then.
func (n *node) restart(d time.Duration) {
	n.w.put(n.w.now.after(d), func() {
		if !n.up {
			n.start(false)
		}
	})
}
