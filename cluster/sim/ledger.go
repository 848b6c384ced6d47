package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// ledger knows the truth: what every client was told, and when.
type ledger struct {
	w     *world
	next  uint64
	byUID map[uint64]*entry
	keys  map[entryKey][]*entry // oldest first

	asked, answered, denied, undecided int
	doubtful                           moment // until then hits may be lost or counted twice
}

type entryKey struct {
	p   limiter.PartitionID
	key uint8
}

type entry struct {
	uid      uint64
	at       moment
	node     *node
	counted  bool // some node admitted it
	answered bool // the client was told so
	excused  bool // it may be lost
	life     int
}

func (l *ledger) init(w *world) {
	l.w = w
	l.byUID = make(map[uint64]*entry)
	l.keys = make(map[entryKey][]*entry)
}

// count notes that a node admitted a hit.
func (l *ledger) count(n *node, k entryKey, uid uint64, read moment) *entry {
	e := &entry{uid: uid, at: read, node: n, counted: true, life: n.life}
	es := append(l.keys[k], e)
	for i := len(es) - 1; i > 0 && es[i-1].at > e.at; i-- { // in the order of their times
		es[i-1], es[i] = e, es[i-1]
	}
	l.keys[k] = es
	l.prune(k)
	return e
}

func (l *ledger) prune(k entryKey) {
	es := l.keys[k]
	i := 0
	for i < len(es) && l.w.now.since(es[i].at) > 10*l.w.window {
		i++
	}
	l.keys[k] = es[i:]
}

// tell notes that a client was told that its hit was admitted, and checks that no window
// that ends with it has more than the limit.
func (l *ledger) tell(m *node, e *entry, k entryKey) {
	e.answered = true
	l.answered++
	if l.w.now < l.doubtful {
		e.excused = true
		return
	}
	es := l.keys[k]
	window := l.w.window - time.Millisecond // clocks run at rates of their own
	for i := len(es) - 1; i >= 0 && l.w.now.since(es[i].at) <= 2*window; i-- {
		first := es[i]
		n := 0
		for _, o := range es[i:] {
			if o.answered && !o.excused && o.at >= l.doubtful && o.at.since(first.at) < window {
				n++
			}
		}
		if n > l.w.limit {
			l.w.fail("over-admission: %d hits of key %d of partition %d within %v, limit %d%s", n, k.key, k.p, window, l.w.limit, l.missing(m, k, es[i:]))
			return
		}
	}
}

// deny checks that a denial is true.
func (l *ledger) deny(n *node, k entryKey, used int, read moment) {
	l.denied++
	if l.doubtful > 0 && l.w.now < l.doubtful.after(2*l.w.window) {
		return
	}
	slack := 20*time.Millisecond + 4*l.w.net.fast
	if l.w.net.slowly > 0 || l.w.net.loss > 0 {
		slack += 4 * l.w.net.slow
	}
	true0 := 0
	for _, e := range l.keys[k] {
		if read.since(e.at) < l.w.window+slack {
			true0++
		}
	}
	if true0 < l.w.limit {
		l.w.fail("false denial by %s: key %d of partition %d has %d hits in its window, limit %d; the node counts %d", n.name, k.key, k.p, true0, l.w.limit, used)
	}
}

// excuse marks what a node admitted in its last moments: it may be lost.
func (l *ledger) excuse(n *node, within time.Duration) {
	for _, es := range l.keys {
		for _, e := range es {
			if e.node == n && e.life == n.life && l.w.now.since(e.at) <= within {
				e.excused = true
			}
		}
	}
}

// forget lets counts be wrong until some time from now, as the promise allows: hits may
// be missing, and those that are counted twice weigh for a while longer.
func (l *ledger) forget(d time.Duration) { l.doubtful = max(l.doubtful, l.w.now.after(d)) }

// checkPermits checks that of nodes that reach each other no two may decide.
func (w *world) checkPermits(n *node) {
	const grace = 150 * time.Millisecond
	for p := range w.partitions {
		if !n.permitted(p) {
			continue
		}
		for _, o := range w.nodes {
			if o == n || !o.permitted(p) || !w.net.reaches(n, o) {
				continue
			}
			since := max(w.net.changed[n.index][o.index], n.woke, o.woke)
			if w.now.since(since) > grace {
				w.fail("two holders of partition %d: %s by %v and %s by %v", p, n.name, n.machine.Route(limiter.PartitionID(p)).Gen, o.name, o.machine.Route(limiter.PartitionID(p)).Gen)
			}
		}
	}
}

func (n *node) permitted(p int) bool {
	return n.up && !n.paused && n.local() < n.store.parts[p].permit
}

// checkCalm checks that the cluster has come to rest: each partition has one holder, the
// view's owner, with a copy at the successor.
func (w *world) checkCalm() {
	var up []*node
	for _, n := range w.nodes {
		if n.up {
			up = append(up, n)
		}
	}
	for _, n := range up {
		if n.view != up[0].view {
			w.fail("%s and %s go by different views", up[0].name, n.name)
		}
		if n.machine.Unsettled() {
			w.fail("%s has a remainder that nobody took", n.name)
		}
	}
	if w.failed != nil || len(up) == 0 {
		return
	}
	for p := range w.partitions {
		var holders []*node
		for _, n := range up {
			if n.machine.Route(limiter.PartitionID(p)).Held {
				holders = append(holders, n)
			}
		}
		if len(holders) != 1 {
			w.fail("partition %d has %d holders", p, len(holders))
			return
		}
		h := holders[0]
		v := w.views[h.view]
		if v.Owner(p) != h.name {
			w.fail("partition %d is held by %s, not by its owner %s", p, h.name, v.Owner(p))
		}
		if !h.permitted(p) {
			w.fail("partition %d: its holder %s is not permitted", p, h.name)
		}
		var want []string
		if s := v.Successor(p); s != "" {
			want = []string{s}
		}
		if copies := h.machine.Copies(limiter.PartitionID(p)); !slices.Equal(copies, want) {
			w.fail("partition %d of %s has copies at %v, not at its successor %s", p, h.name, copies, v.Successor(p))
		}
	}
}

// missing tells which hits a node does not know of, for a failure's message.
func (l *ledger) missing(n *node, k entryKey, es []*entry) (s string) {
	for _, e := range es {
		has := slices.ContainsFunc(n.store.parts[k.p].hits, func(h hit) bool { return h.uid == e.uid })
		if !has && e.answered && !e.excused {
			s += fmt.Sprintf("; %s lacks hit %d, admitted by %s at %v", n.name, e.uid, e.node.name, time.Duration(e.at))
		}
	}
	return s
}
