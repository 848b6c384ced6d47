package sim

import (
	"fmt"
	"slices"
	"time"
)

// ledger knows the truth: what every client was told, and when.
type ledger struct {
	w     *world
	next  uint64
	byUID map[uint64]*entry
	keys  map[key][]*entry // oldest first

	answered, denied, undecided int
	doubtful                    moment // until then hits may be lost or counted twice
}

type entry struct {
	uid      uint64
	at       moment
	node     *node
	answered bool // the client was told so
	excused  bool // it may be lost
	life     int
}

func (l *ledger) init(w *world) {
	l.w = w
	l.byUID = make(map[uint64]*entry)
	l.keys = make(map[key][]*entry)
}

// count notes that a node admitted a hit.
func (l *ledger) count(n *node, k key, uid uint64, read moment) *entry {
	e := &entry{uid: uid, at: read, node: n, life: n.life}
	i := len(l.keys[k])
	for i > 0 && l.keys[k][i-1].at > e.at { // in the order of their times
		i--
	}
	l.keys[k] = slices.Insert(l.keys[k], i, e)
	l.prune(k)
	return e
}

func (l *ledger) prune(k key) {
	es := l.keys[k]
	i := 0
	for i < len(es) && l.w.now.since(es[i].at) > 10*l.w.window {
		i++
	}
	l.keys[k] = es[i:]
}

// tell notes that a client was told that its hit was admitted, and checks that no window
// that ends with it has more than the limit.
func (l *ledger) tell(m *node, e *entry, k key) {
	e.answered = true
	l.answered++
	if l.w.now < l.doubtful {
		e.excused = true
		return
	}
	es := l.keys[k]
	within := l.w.window - time.Millisecond // clocks run at rates of their own
	for i := len(es) - 1; i >= 0 && l.w.now.since(es[i].at) <= 2*within; i-- {
		first := es[i]
		n := 0
		for _, o := range es[i:] {
			if o.answered && !o.excused && o.at >= l.doubtful && o.at.since(first.at) < within {
				n++
			}
		}
		if n > limit {
			l.w.fail("over-admission: %d hits of key %d of partition %d within %v, limit %d%s", n, k.n, k.p, within, limit, l.missing(m, k, es[i:]))
			return
		}
	}
}

// deny checks that a denial is true.
func (l *ledger) deny(n *node, k key, read moment) {
	l.denied++
	if l.doubtful > 0 && l.w.now < l.doubtful.after(2*l.w.window) {
		return
	}
	slack := l.w.net.slack()
	most := 0
	for _, e := range l.keys[k] {
		if read.since(e.at) < l.w.window+slack {
			most++
		}
	}
	if most < limit {
		l.w.fail("false denial by %s: key %d of partition %d has %d hits in its window, limit %d; the node counts %d", n.name, k.n, k.p, most, limit, n.store.units(k, n.local()))
	}
}

// excuse marks what a node admitted in its last moments: it may be lost, unless answers
// wait for copies.
func (l *ledger) excuse(n *node, within time.Duration) {
	if l.w.minMembers > 1 {
		return
	}
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

// missing tells which hits a node does not know of, for a failure's message.
func (l *ledger) missing(n *node, k key, es []*entry) (s string) {
	for _, e := range es {
		if n.store.lacks(k, e.uid) && e.answered && !e.excused {
			s += fmt.Sprintf("; %s lacks hit %d, admitted by %s at %v", n.name, e.uid, e.node.name, time.Duration(e.at))
		}
	}
	return s
}
