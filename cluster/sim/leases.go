package sim

import (
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// leases knows the truth about runs: what clients were told of their leases.
type leases struct {
	w       *world
	next    uint64 // names runs, and leases
	byNonce map[uint64]*lease
	byKey   map[key][]*lease
	// prolonged is by how much a partition's leases were prolonged, by all holders together.
	prolonged []time.Duration
	lost      moment // when holder and copies of a partition were last lost at once

	granted, renewed, released, denied int
}

// lease is one that some node granted.
type lease struct {
	key    key
	nonce  uint64
	since  moment // granted
	told   bool   // a client knows of it
	held   moment // live until then at least, by what the client was told
	ends   moment // not live from then on, unless prolonged or renewed
	base   time.Duration
	taken  moment // when it may have been taken up again, after its end
	bare   bool   // told while nobody had a copy
	freed  bool   // a release is under way
	buried bool   // some node has released it, or found it ended
	over   moment // when a release was told; 0: it was not
	alone  bool   // that was told while nobody had a copy
	void   bool   // that there is no such lease was all that was told, after holder and copies were lost
}

func (l *leases) init(w *world) {
	l.w = w
	l.byNonce, l.byKey = make(map[uint64]*lease), make(map[key][]*lease)
	l.prolonged = make([]time.Duration, w.partitions)
	l.lost = never
}

// prolonging notes when a holder prolongs its leases.
type prolonging struct {
	store
	w *world
}

func (s prolonging) Prolong(p limiter.PartitionID, d time.Duration, now limiter.Instant) {
	s.w.leases.prolonged[p] += d
	s.store.Prolong(p, d, now)
}

// extended notes that a node granted or renewed a lease, which the client may not learn.
func (l *leases) extended(k key, nonce uint64, ttl time.Duration) *lease {
	e := l.byNonce[nonce]
	if e == nil {
		e = &lease{key: k, nonce: nonce, since: l.w.now, base: l.prolonged[k.p]}
		l.byNonce[nonce] = e
		l.byKey[k] = append(slices.DeleteFunc(l.byKey[k], func(o *lease) bool { return l.latest(o).after(20*time.Second) < l.w.now }), e)
	}
	if e.told && l.w.now > e.held {
		e.taken = l.w.now
	}
	e.ends = max(e.ends, l.w.now.after(ttl))
	return e
}

// latest returns from when on a lease cannot be live.
func (l *leases) latest(e *lease) moment { return e.ends.after(l.prolonged[e.key.p] - e.base) }

// doubtful tells whether counts of leases may be wrong now.
func (l *leases) doubtful() bool {
	d := l.w.ledger.doubtful
	return d > 0 && l.w.now < d.after(maxTTL)
}

// tellGrant checks that a slot was free when a lease was granted of which a client is told.
func (l *leases) tellGrant(e *lease) {
	l.granted++
	if l.doubtful() {
		return
	}
	n := 0
	for _, o := range l.byKey[e.key] {
		if o.told && !o.freed && o.held > l.w.now && o.taken <= e.since {
			n++
		}
	}
	if n > runLimit {
		l.w.fail("a run too many: key %v has %d leases, limit %d", e.key, n, runLimit)
	}
}

// deny checks that no slot was free, by a clock that was read at a moment.
func (l *leases) deny(n *node, k key, read moment) {
	l.denied++
	if l.doubtful() {
		return
	}
	used := 0
	for _, e := range l.byKey[k] {
		if (e.over == 0 || e.over > read) && read < l.latest(e).after(l.w.net.slack()) {
			used++
		}
	}
	if used < runLimit {
		l.w.fail("a run falsely denied by %s: key %v has at most %d leases, limit %d; the node counts %x", n.name, k, used, runLimit, n.store.live(k, n.local()))
	}
}

// gone checks that a lease which a holder does not know has ended.
func (l *leases) gone(n *node, e *lease) {
	if l.w.now < e.held && !e.buried && l.lost < e.since && !l.doubtful() {
		l.w.fail("%s lost lease %d of key %v, live until %v", n.name, e.nonce, e.key, time.Duration(e.held))
	}
}

// again checks that a released lease which was renewed had ended by itself before: a
// partition that may lack leases takes it up then, as whoever renews it may know better. If
// the node's permit ends meanwhile nobody is told, but it has.
func (l *leases) again(n *node, e *lease, permitted bool) {
	if permitted && l.w.now < e.held && !l.doubtful() && l.lost < e.over {
		l.w.fail("%s renewed lease %d of key %v, released at %v", n.name, e.nonce, e.key, time.Duration(e.over))
	}
	e.buried, e.over = false, 0
}

// excuse lets what a client was told before there was a copy be lost with the holder, who
// had no time to feed the one that there is now: a grant, or a release.
func (l *leases) excuse(within time.Duration) {
	for _, es := range l.byKey {
		for _, e := range es {
			if e.bare && l.w.now.since(e.since) <= within {
				e.held = never
			}
			if e.alone && e.over > 0 && l.w.now.since(e.over) <= within {
				e.over = 0
			}
		}
	}
}

// compare checks what a node that decides for a key has of its leases, by a clock that was
// read at a moment: none that had been released by then, and each that a client was told of.
func (l *leases) compare(n *node, k key, now limiter.Instant, read moment) {
	if l.doubtful() {
		return
	}
	live := n.store.live(k, now)
	for _, nonce := range live {
		if e := l.byNonce[nonce]; e != nil && e.over > 0 && e.over <= read && !e.void {
			l.w.fail("at %s lease %d of key %v is live again, released at %v", n.name, nonce, k, time.Duration(e.over))
		}
	}
	for _, e := range l.byKey[k] {
		if e.told && !e.freed && l.w.now < e.held && l.lost < e.since && !slices.Contains(live, e.nonce) {
			l.w.fail("%s lacks lease %d of key %v, live until %v", n.name, e.nonce, k, time.Duration(e.held))
		}
	}
}

// checkNone checks that no lease is live at any node that holds or has a copy.
func (w *world) checkNone() {
	for k := range w.leases.byKey {
		for _, n := range w.nodes {
			if live := n.live(k); len(live) > 0 {
				w.fail("all leases of key %v were released, but at %s there are %d live: %x", k, n.name, len(live), live)
			}
		}
	}
}

// live returns what a node that is up has of a key's leases.
func (n *node) live(k key) []uint64 {
	if !n.up {
		return nil
	}
	return n.store.live(k, n.local())
}
