package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// run is a client's piece of work: it takes a slot, renews its lease, and releases it.
type run struct {
	w     *world
	key   key
	id    uint64
	ttl   time.Duration
	ends  moment // when the work is done
	lease *lease // nil: not granted, as far as the client knows
	tries int
	late  bool // it was renewed after its release
}

// runs lets clients begin runs up to a moment, when all that are left end.
func (w *world) runs(every time.Duration, keys int, until moment) {
	w.put(w.now.after(w.between(0, 2*every)), func() {
		if w.now > until {
			return
		}
		r := w.newRun(key{limiter.PartitionID(w.rand.IntN(w.partitions)), uint8(w.rand.IntN(keys))})
		r.ttl = w.between(limiter.MinTTL, maxTTL)
		r.ends = min(w.now.after(w.between(200*time.Millisecond, 6*time.Second)), until)
		r.begin()
		w.runs(every, keys, until)
	})
}

func (w *world) newRun(k key) *run {
	w.leases.next++
	return &run{w: w, key: k, id: w.leases.next}
}

// begin asks for a slot, again if there is no answer.
func (r *run) begin() {
	r.tries++
	answered := false
	r.acquire(func(ok bool) {
		answered = true
		if ok {
			r.goOn()
		}
	}).ask()
	r.w.put(r.w.now.after(patience), func() {
		if !answered && r.lease == nil && r.tries < 3 && r.w.now < r.ends {
			r.begin()
		}
	})
}

// goOn renews the lease until the work is done.
func (r *run) goOn() {
	w := r.w
	w.put(w.now.after(r.ttl/4), func() {
		if w.now >= r.ends {
			r.end()
			return
		}
		if w.chance(0.1) {
			r.acquire(func(bool) {}).ask() // the same again
		}
		r.renew(func(bool) {}).ask()
		r.goOn()
	})
}

// end releases the lease, again until it is told or has ended by itself.
func (r *run) end() {
	w, e := r.w, r.lease
	if e.over > 0 || w.now > w.leases.latest(e).after(time.Second) {
		return
	}
	r.release(func(bool) {
		if !r.late && w.chance(0.3) { // by one who does not know
			r.late = true
			w.put(w.now.after(w.between(0, r.ttl/2)), func() { r.renew(func(bool) {}).ask() })
		}
	}).ask()
	w.put(w.now.after(300*time.Millisecond), r.end)
}

// acquire returns a call for a slot.
func (r *run) acquire(told func(granted bool)) *call {
	w, l := r.w, &r.w.leases
	l.next++
	nonce := l.next
	c := r.call()
	c.decide = func(n *node, read limiter.Instant, readAt moment) bool {
		v := n.store.acquire(r.key, r.id, nonce, r.ttl, read)
		if !v.decided {
			return false
		}
		var e *lease
		at, may := w.now, n.local() < v.permit
		if may {
			l.compare(n, r.key, read, readAt)
		}
		switch {
		case !v.ok && may:
			l.deny(n, r.key, readAt)
		case !v.ok:
		case v.nonce == nonce:
			e = l.extended(r.key, nonce, r.ttl)
			if own := r.lease; own != nil && may && !own.freed && at < own.held && l.lost < own.since && !l.doubtful() {
				w.fail("%s doubled run %d of key %v: granted %d, live is %d", n.name, r.id, r.key, nonce, own.nonce)
			}
		default:
			e = l.byNonce[v.nonce]
		}
		c.copied(n, func(known bool) {
			if known && e != nil && r.lease == nil {
				r.lease, e.told = e, true
				e.bare = len(n.machine.Copies(r.key.p)) == 0
				if v.nonce == nonce {
					e.held = readAt.after(r.ttl - slip)
				}
				l.tellGrant(e)
			}
			if known {
				told(v.ok)
				n.meet(w.ambush.fate(w))
			}
		})
		return true
	}
	return c
}

// slip is by how much clocks may drift apart over the life of a lease.
const slip = time.Millisecond

// renew returns a call that renews the run's lease.
func (r *run) renew(told func(ok bool)) *call {
	l, e := &r.w.leases, r.lease
	c := r.call()
	c.decide = func(n *node, read limiter.Instant, readAt moment) bool {
		v := n.store.renew(r.key, r.id, e.nonce, r.ttl, read)
		if !v.decided {
			return false
		}
		if v.ok {
			l.extended(r.key, e.nonce, r.ttl)
			if e.buried {
				l.again(n, e, n.local() < v.permit)
			}
		} else if n.local() < v.permit {
			l.gone(n, e)
		}
		c.copied(n, func(known bool) {
			if known && v.ok {
				l.renewed++
				e.held = max(e.held, readAt.after(r.ttl-slip))
			}
			if known {
				told(v.ok)
			}
		})
		return true
	}
	return c
}

// release returns a call that releases the run's lease.
func (r *run) release(told func(ok bool)) *call {
	w, l, e := r.w, &r.w.leases, r.lease
	e.freed = true
	c := r.call()
	c.decide = func(n *node, read limiter.Instant, _ moment) bool {
		v := n.store.release(r.key, r.id, e.nonce, read)
		if !v.decided {
			return false
		}
		if !v.ok && n.local() < v.permit {
			l.gone(n, e)
		}
		e.buried = true
		c.copied(n, func(known bool) {
			if known && e.buried && e.over == 0 {
				l.released++
				e.over, e.void = w.now, !v.ok && l.lost >= e.since
				e.alone = len(n.machine.Copies(r.key.p)) == 0
			}
			if known {
				told(v.ok)
			}
		})
		return true
	}
	return c
}

func (r *run) call() *call { return &call{w: r.w, p: r.key.p, deadline: r.w.now.after(patience)} }
