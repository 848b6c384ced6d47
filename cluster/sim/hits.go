package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// patience is how long a client waits for an answer.
const patience = time.Second

// hits lets clients ask for units up to a moment: some for keys that are full, some for
// one that is not.
func (w *world) hits(every time.Duration, keys int, until moment) {
	w.put(w.now.after(w.between(0, 2*every)), func() {
		if w.now > until {
			return
		}
		w.hit(key{limiter.PartitionID(w.rand.IntN(w.partitions)), uint8(w.rand.IntN(keys))}, func(bool) {}).ask()
		w.hits(every, keys, until)
	})
}

// hit returns a call for one unit.
func (w *world) hit(k key, told func(allowed bool)) *call {
	w.ledger.next++
	uid := w.ledger.next
	c := &call{w: w, p: k.p, deadline: w.now.after(patience)}
	c.decide = func(n *node, read limiter.Instant, readAt moment) bool {
		v := n.store.check(k, uid, read)
		switch {
		case !v.decided:
			return false
		case v.ok:
			e := w.ledger.count(n, k, uid, readAt)
			tell := func(known bool) {
				if known {
					w.ledger.tell(n, e, k)
					told(true)
				}
			}
			if w.minMembers > 1 {
				c.copied(n, tell)
			} else {
				n.soon(w.between(0, 300*time.Microsecond), func() { tell(n.local() < v.permit) })
			}
		case n.local() < v.permit:
			w.ledger.deny(n, k, readAt)
			told(false)
		}
		return true
	}
	return c
}
