package limiter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// WhenFull says how a table that holds as many keys as it may treats new ones.
type WhenFull uint8

const (
	// Closed denies them with ReasonTableFull: no key ever gets more than its limit.
	Closed WhenFull = iota
	// Open allows them uncounted, as Degraded: no caller is turned away.
	Open
)

// Config sets up a Table.
type Config struct {
	Partitions int // 1 to MaxPartitions
	MaxKeys    int // 1 to [MaxKeys]: keys with history or leases at a time
	WhenFull   WhenFull
	// LargestLimit is that of all tiers that will be asked for: histories keep so many units.
	// A tier beyond it counts for what is kept from its first call on.
	LargestLimit uint32

	// Shared says that other nodes hold the same partitions: none is decided for before
	// Permit. Otherwise all are permitted for ever.
	Shared bool
	// MaxBehind bounds for how long a recorded change may wait to be taken: while the
	// oldest of a partition is older, that is not decided for. 0: no bound.
	MaxBehind time.Duration
	// Wake is called when a partition has something to take and none had since the last
	// Dirty. It must not block, nor call the table. nil: nobody is told.
	Wake func()
}

// MaxPartitions is the largest number of partitions.
const MaxPartitions = 1 << 16

// MaxKeys is the largest number of keys of a table.
const MaxKeys = 100_000_000

// A Table holds the histories and leases of all keys, by partition. It is safe for
// concurrent use. Its clock is its callers': every method takes the instant at
// which it is to decide.
type Table struct {
	partitions []partition
	outlines   []atomic.Pointer[outline] // of each partition's records
	records    *arena[record]
	chunks     *arena[chunk]
	maxKeys    int64
	whenFull   WhenFull
	largest    uint32 // of the limits of all tiers that were known at the start
	maxBehind  time.Duration
	marks      marks
	keys       atomic.Int64

	sweeping  sync.Mutex // guards sweepPart, sweepFrom
	sweepPart int
	sweepFrom uint32
}

// NewTable checks c and returns its table, empty. The error names the field that is
// wrong.
func NewTable(c Config) (*Table, error) {
	switch {
	case c.Partitions < 1 || c.Partitions > MaxPartitions:
		return nil, fmt.Errorf("partitions is %d, must be from 1 to %d", c.Partitions, MaxPartitions)
	case c.MaxKeys < 1 || c.MaxKeys > MaxKeys:
		return nil, fmt.Errorf("max keys is %d, must be from 1 to %d", c.MaxKeys, MaxKeys)
	case c.WhenFull > Open:
		return nil, fmt.Errorf("when full is %d, must be Closed or Open", c.WhenFull)
	case c.MaxBehind < 0:
		return nil, fmt.Errorf("max behind is %v, must not be negative", c.MaxBehind)
	}
	t := &Table{
		partitions: make([]partition, c.Partitions), maxKeys: int64(c.MaxKeys), whenFull: c.WhenFull,
		largest: c.LargestLimit, maxBehind: c.MaxBehind,
	}
	t.marks.words, t.marks.wake = make([]atomic.Uint64, (c.Partitions+63)/64), c.Wake
	t.records, t.chunks = newArena[record](PageRecords), newArena[chunk](pageChunks)
	t.outlines = make([]atomic.Pointer[outline], c.Partitions)
	for i := range t.partitions {
		t.partitions[i].state = t.newState()
		t.partitions[i].records.told = &t.outlines[i]
		t.partitions[i].records.tell()
		if !c.Shared {
			t.partitions[i].permit = forEver
		}
	}
	return t, nil
}

// Keys returns how many keys the table holds, those included that have expired but
// were not swept yet.
func (t *Table) Keys() int { return int(t.keys.Load()) }

// Check decides a request of the given cost (0 to MaxCost) and counts it if it is
// allowed. The decision is Undecided if the partition is not permitted at now.
func (t *Table) Check(k Key, tier *Tier, cost Cost, now Instant) (d Decision) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	d.Permit = p.permit
	if !t.mayDecide(p, now) {
		return d
	}
	p.meet(tier, now)
	r := p.records.find(k.ID)
	switch {
	case !p.quickly(r, tier, cost, now, &d):
		rs := readings{tier: tier, h: p.history(r), now: now}
		t.checkLocked(p, k.ID, &rs, cost, &d)
	case p.recorder != nil:
		p.recorder.hit(k.ID, tier, cost, now)
	}
	return d
}

// Explain is Check, and also returns what each window of the tier says afterwards: nil if
// nothing was decided.
func (t *Table) Explain(k Key, tier *Tier, cost Cost, now Instant) (d Decision, states []WindowState) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	d.Permit = p.permit
	if !t.mayDecide(p, now) {
		return d, nil
	}
	p.meet(tier, now)
	rs := readings{tier: tier, h: p.history(p.records.find(k.ID)), now: now}
	t.checkLocked(p, k.ID, &rs, cost, &d)
	return d, rs.states(cost, d.Allowed)
}

// quickly decides and counts the quick way, if it is one for a request of the key that r is of,
// which may be nil. It returns false, having changed nothing, if not.
func (p *partition) quickly(r *record, tier *Tier, cost Cost, now Instant, d *Decision) bool {
	if r == nil || !tier.plain() || p.doubts != nil && p.doubts.lasting(tier.Longest(), now).exactness != 0 {
		return false
	}
	w := &tier.windows[0]
	r.expectEnds(w.per, now, &p.chunks)
	return r.quick(w, cost, now, &p.chunks, d)
}

// meet notes the limits of a tier that is asked for.
func (p *partition) meet(tier *Tier, now Instant) {
	if tier.maxLimit > p.largest {
		p.largest = tier.maxLimit
		if p.recorder != nil {
			p.recorder.largest(p.largest, now)
		}
	}
}

func (t *Table) checkLocked(p *partition, id Identity, rs *readings, cost Cost, d *Decision) {
	rs.doubt(p.doubts)
	rs.read()
	rs.decide(cost, d)
	if d.Allowed && cost > 0 {
		if rs.h.record == nil && !t.admit(p, rs, id) {
			t.full(rs, d)
			return
		}
		p.count(id, rs, cost)
	} else {
		p.kept(id, rs)
	}
	rs.report(d)
	if d.RetryAfter > 0 {
		d.Reset = d.RetryAfter
	}
}

// count counts units that are admitted.
func (p *partition) count(id Identity, rs *readings, cost Cost) {
	rs.count(cost, p.largest)
	if p.recorder != nil {
		p.recorder.hit(id, rs.tier, cost, rs.now)
	}
}

// kept records that a history which nothing was added to is kept for longer from now on.
func (p *partition) kept(id Identity, rs *readings) {
	if rs.prolonged && p.recorder != nil {
		p.recorder.kept(id, rs.h.horizon, rs.now)
	}
}

// admit makes a record for a new key if there is room.
func (t *Table) admit(p *partition, rs *readings, id Identity) bool {
	if t.keys.Add(1) > t.maxKeys {
		t.keys.Add(-1)
		return false
	}
	rs.h.record = p.records.insert(id)
	rs.h.horizon = uint32(rs.tier.horizon)
	return true
}

// full is the decision for a new key in a full table.
func (t *Table) full(rs *readings, d *Decision) {
	*d = Decision{Exactness: Degraded, Permit: d.Permit}
	rs.report(d)
	if t.whenFull == Open {
		d.Allowed = true
		return
	}
	d.Reason = ReasonTableFull
	d.Remaining = 0
}

// Sweep looks at the memory of up to most keys, going on where the last call ended, and
// removes the keys whose history is empty and that hold no lease. It returns how
// many it removed. Nothing depends on it but memory and the count of keys.
func (t *Table) Sweep(now Instant, most int) (removed int) {
	t.sweeping.Lock()
	defer t.sweeping.Unlock()
	for range len(t.partitions) {
		next, seen, gone := t.partitions[t.sweepPart].sweep(now, t.sweepFrom, min(most, sweepStep))
		t.keys.Add(int64(-gone))
		removed += gone
		most -= max(1, seen) // to look at an empty partition takes about as long
		t.sweepFrom = next
		if next == 0 {
			t.sweepPart = (t.sweepPart + 1) % len(t.partitions)
		}
		if most <= 0 {
			break
		}
	}
	return removed
}

// sweepStep bounds how many records are looked at under one lock.
const sweepStep = 256
