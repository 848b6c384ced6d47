package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// request is a client's call, which asks for one unit.
type request struct {
	w        *world
	key      entryKey
	uid      uint64
	deadline moment
	done     bool
}

// requests lets clients ask for as long as the simulation runs: some for keys that are
// full, some for one that is not.
func (w *world) requests(every time.Duration, keys int, until moment) {
	w.put(w.now.after(w.between(0, 2*every)), func() {
		if w.now > until {
			return
		}
		n := w.nodes[w.rand.IntN(len(w.nodes))]
		w.ledger.next++
		w.ledger.asked++
		r := &request{w: w, uid: w.ledger.next, deadline: w.now.after(time.Second), key: entryKey{limiter.PartitionID(w.rand.IntN(w.partitions)), uint8(w.rand.IntN(keys))}}
		if n.up && n.joined {
			r.at(n, 0)
		}
		w.requests(every, keys, until)
	})
}

// at lets a node answer, forward, or wait. The clock may have been read a little before
// the decision, and the reply comes a little after.
func (r *request) at(n *node, hops int) {
	w := r.w
	read, readAt := n.local(), w.now
	n.later(w.between(0, 200*time.Microsecond), func() {
		if w.now > r.deadline {
			return
		}
		allowed, decided, used := n.store.check(r.key.p, r.key.key, r.uid, w.limit, w.window, read)
		switch {
		case !decided:
			r.elsewhere(n, hops)
		case !allowed:
			permit := n.store.parts[r.key.p].permit
			if n.local() < permit {
				w.ledger.deny(n, r.key, used, readAt)
			}
		default:
			e := w.ledger.count(n, r.key, r.uid, readAt)
			permit := n.store.parts[r.key.p].permit
			n.later(w.between(0, 300*time.Microsecond), func() {
				if n.local() < permit {
					w.ledger.tell(n, e, r.key)
				}
			})
		}
	})
}

// elsewhere forwards the call, or waits.
func (r *request) elsewhere(n *node, hops int) {
	w := r.w
	route := n.machine.Route(r.key.p)
	to := w.byName[route.Holder]
	if hops < 2 && !route.Held && to != nil && to != n {
		w.net.carry(n, to, w.net.delay(), func() { r.at(to, hops+1) })
		return
	}
	w.ledger.undecided++
	n.later(5*time.Millisecond, func() { r.at(n, hops) })
}
