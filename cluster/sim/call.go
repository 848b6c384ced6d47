package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// call is a client's call on its way to the node that decides it.
type call struct {
	w        *world
	p        limiter.PartitionID
	deadline moment
	// decide decides it at a node by a clock that was read a little before, or returns
	// false: that node may not decide.
	decide func(n *node, read limiter.Instant, readAt moment) bool
}

// ask sends a call to a node at random, if that is up.
func (c *call) ask() {
	if n := c.w.anyNode(); n.up && n.joined {
		c.at(n, 0)
	}
}

// at lets a node decide, forward, or wait, when it runs. The clock is read a little before
// the decision.
func (c *call) at(n *node, hops int) {
	w := c.w
	n.soon(0, func() {
		read, readAt := n.local(), w.now
		n.soon(w.between(0, 200*time.Microsecond), func() {
			if w.now <= c.deadline && !c.decide(n, read, readAt) {
				c.elsewhere(n, hops)
			}
		})
	})
}

// elsewhere forwards the call, or waits.
func (c *call) elsewhere(n *node, hops int) {
	w := c.w
	route := n.machine.Route(c.p)
	to := w.byName[route.Holder]
	if hops < 2 && !route.Held && to != nil && to != n {
		w.net.carry(n, to, w.net.delay(), func() { c.at(to, hops+1) })
		return
	}
	w.ledger.undecided++
	n.soon(w.between(10*time.Millisecond, 30*time.Millisecond), func() { c.at(n, hops) })
}

// copied tells, once it is known, whether all that was decided in a partition till now is
// in every registered copy, or was handed over with it: false if that cannot be told.
func (c *call) copied(n *node, tell func(known bool)) {
	n.machine.Replicate(n.local())
	gen := n.machine.Route(c.p).Gen
	n.machine.Prompt(c.p)
	_, seq := n.store.permitOf(c.p)
	var look func()
	look = func() {
		until, _ := n.store.permitOf(c.p)
		r := n.machine.Route(c.p)
		switch {
		case r.Held && r.Gen == gen && r.Safe >= seq && n.local() < until:
			tell(true)
		case !r.Held || r.Gen != gen:
			tell(!r.Held && r.Done == gen.Number)
		case c.w.now > c.deadline:
			tell(false)
		default:
			n.soon(time.Millisecond, look)
		}
	}
	n.flush()
	n.soon(0, look)
}
