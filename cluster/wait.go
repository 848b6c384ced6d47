package cluster

import (
	"context"
	"sync"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// A waiter is a decision of this node that is told once every registered copy has it, or
// the partition was handed over with it.
type waiter struct {
	partition limiter.PartitionID
	at        limiter.Instant // not after it was decided
	until     limiter.Instant // nobody waits for it from then on,
	ctx       context.Context // or once this has ended
	tell      func(safe bool) // is called once; false: it cannot be told what became of it

	gen ownership.Generation // that it was decided in,
	seq uint64               // and a change that is not before its own
}

// waiters are the waiters of a node. Many share a turn of the machine.
type waiters struct {
	woken chan struct{} // there are new ones

	mu     sync.Mutex // guards fresh, closed
	fresh  []waiter   // whose gen and seq are not known yet
	closed bool       // nobody is served any more

	// Guarded by Node.mu.
	of    map[limiter.PartitionID][]waiter
	ready []outcome
}

// outcome is what a waiter is to be told when no lock is held.
type outcome struct {
	tell func(safe bool)
	safe bool
}

func (w *waiters) init() {
	w.woken = make(chan struct{}, 1)
	w.of = make(map[limiter.PartitionID][]waiter)
}

// whenSafe calls tell once it is known whether what was decided in a partition, not before
// an instant, is in every registered copy; at the latest a tick after until.
func (n *Node) whenSafe(w waiter) {
	ws := &n.waiters
	ws.mu.Lock()
	closed := ws.closed
	if !closed {
		ws.fresh = append(ws.fresh, w)
	}
	ws.mu.Unlock()
	if closed {
		w.tell(false)
		return
	}
	select {
	case ws.woken <- struct{}{}:
	default: // it was told
	}
}

// replicateNowLocked gives all changes to the copies' streams, and finds out which change
// each new waiter waits for.
func (n *Node) replicateNowLocked(m *ownership.Machine, now limiter.Instant) {
	ws := &n.waiters
	ws.mu.Lock()
	fresh := ws.fresh
	ws.fresh = nil
	ws.mu.Unlock()
	m.Replicate(now)
	for _, w := range fresh {
		r := m.Route(w.partition)
		if r.Began > w.at { // it may have been decided in a holding before the present one
			ws.ready = append(ws.ready, outcome{w.tell, false})
			continue
		}
		w.gen = r.Gen
		if !r.Held {
			w.gen.Number = r.Done // 0: the holding was lost
		}
		_, w.seq = n.table.PermitOf(w.partition)
		if !n.settleLocked(w, r, now) {
			ws.of[w.partition] = append(ws.of[w.partition], w)
			m.Prompt(w.partition)
		}
	}
}

// settleLocked makes ready to be told what it can be told by the route of its partition, and
// reports whether that is so. A holder that is not permitted for a moment may be so again.
func (n *Node) settleLocked(w waiter, r ownership.Route, now limiter.Instant) bool {
	safe := false
	switch {
	case r.Held && r.Gen == w.gen:
		if safe = r.Safe >= w.seq && now < r.Until; !safe && now < w.until && w.ctx.Err() == nil {
			return false
		}
	case !r.Held:
		safe = r.Done > 0 && r.Done == w.gen.Number
	}
	n.waiters.ready = append(n.waiters.ready, outcome{w.tell, safe})
	return true
}

// reviewLocked looks again at the waiters of a partition.
func (n *Node) reviewLocked(p limiter.PartitionID) {
	all := n.waiters.of[p]
	if len(all) == 0 {
		return
	}
	r, now := n.machine.Route(p), n.Clock()
	left := all[:0]
	for _, w := range all {
		if !n.settleLocked(w, r, now) {
			left = append(left, w)
		}
	}
	clear(all[len(left):])
	if len(left) == 0 {
		delete(n.waiters.of, p)
		return
	}
	n.waiters.of[p] = left
}

// tellAll tells who is ready. No lock is held.
func tellAll(ready []outcome) {
	for _, o := range ready {
		o.tell(o.safe)
	}
}

// endWaiting tells all waiters that nothing more will be known.
func (n *Node) endWaiting() {
	ws := &n.waiters
	ws.mu.Lock()
	ws.closed = true
	left := ws.fresh
	ws.fresh = nil
	ws.mu.Unlock()
	n.mu.Lock()
	for _, of := range ws.of {
		left = append(left, of...)
	}
	clear(ws.of)
	n.mu.Unlock()
	for _, w := range left {
		w.tell(false)
	}
}
