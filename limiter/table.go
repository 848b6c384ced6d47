package limiter

import (
	"errors"
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
	MaxKeys    int // 1 to 100,000,000: keys with history or leases at a time
	WhenFull   WhenFull
}

// MaxPartitions is the largest number of partitions.
const MaxPartitions = 1 << 16

const maxMaxKeys = 100_000_000

// A Table holds the histories and leases of all keys, by partition. It is safe for
// concurrent use. Its clock is its callers': every method takes the instant at
// which it is to decide.
type Table struct {
	partitions []partition
	records    arena[record]
	chunks     arena[chunk]
	maxKeys    int64
	whenFull   WhenFull
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
	case c.MaxKeys < 1 || c.MaxKeys > maxMaxKeys:
		return nil, fmt.Errorf("max keys is %d, must be from 1 to %d", c.MaxKeys, maxMaxKeys)
	case c.WhenFull > Open:
		return nil, fmt.Errorf("when full is %d, must be Closed or Open", c.WhenFull)
	}
	t := &Table{partitions: make([]partition, c.Partitions), maxKeys: int64(c.MaxKeys), whenFull: c.WhenFull}
	t.records.page, t.chunks.page = pageRecords, pageChunks
	for i := range t.partitions {
		t.partitions[i].records.arena = &t.records
		t.partitions[i].chunks.arena = &t.chunks
	}
	return t, nil
}

// Keys returns how many keys the table holds, those included that have expired but
// were not swept yet.
func (t *Table) Keys() int { return int(t.keys.Load()) }

// Check decides a request of the given cost (0 to MaxCost) and counts it if it is
// allowed.
func (t *Table) Check(k Key, tier *Tier, cost Cost, now Instant) (d Decision) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	p.largest = max(p.largest, tier.maxLimit)
	r := p.records.find(k.ID)
	if r == nil || !r.quick(tier, cost, now, &d) {
		rs := readings{tier: tier, h: p.history(r), now: now}
		t.checkLocked(p, k.ID, &rs, cost, &d)
	}
	return d
}

// Explain is Check, and also returns what each window of the tier says afterwards.
func (t *Table) Explain(k Key, tier *Tier, cost Cost, now Instant) (d Decision, states []WindowState) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	p.largest = max(p.largest, tier.maxLimit)
	rs := readings{tier: tier, h: p.history(p.records.find(k.ID)), now: now}
	t.checkLocked(p, k.ID, &rs, cost, &d)
	return d, rs.states(cost, d.Allowed)
}

func (t *Table) checkLocked(p *partition, id Identity, rs *readings, cost Cost, d *Decision) {
	rs.read()
	rs.decide(cost, d)
	if d.Allowed && cost > 0 {
		if rs.h.record == nil && !t.admit(p, rs, id) {
			t.full(rs, d)
			return
		}
		rs.count(cost, p.largest)
	}
	rs.report(d)
	if d.RetryAfter > 0 {
		d.Reset = d.RetryAfter
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
	*d = Decision{Exactness: Degraded}
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
		most -= seen
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

// ErrConflict is returned for a run that is held with another tier or task.
var ErrConflict = errors.New("the run is held with another tier or task_id")

// ErrGone is returned for a lease that was released or has expired.
var ErrGone = errors.New("the lease was released or has expired")

// An Acquisition asks for a slot for one run.
type Acquisition struct {
	Key       Key
	Tier      *Tier
	Run       RunHash
	RunID     string
	TaskID    string
	RequestID string
	TTL       time.Duration // MinTTL to MaxTTL
	Nonce     uint64        // random; becomes the new lease's
	// Cost is what to take of the tier's windows in the same step; nil: they are not
	// asked; 0: they must have room, nothing is taken.
	Cost *Cost
}

// A Grant is the answer to an Acquisition.
type Grant struct {
	Granted   bool
	Reason    Reason
	Exactness Exactness
	InUse     uint32 // live leases of the key, with this one if it was granted
	Limit     uint32 // of the tier
	Nonce     uint64 // of the lease
	ExpiresIn time.Duration
	// FreesIn is how long until a slot frees itself, if all are taken: the most that
	// there is to wait, as a run may end at any time. 0 if none will.
	FreesIn time.Duration
	// Decision is what the windows say, if they were asked. After a denial for lack of
	// a slot it is a denial too: nothing was counted.
	Decision Decision
}

// Acquire takes a slot for a run, and units of its windows if that is asked: both or
// neither. A run that has a live lease gets the same again, and takes nothing more;
// if that has another tier or task_id, Acquire returns ErrConflict.
func (t *Table) Acquire(a *Acquisition, now Instant) (Grant, error) {
	p := &t.partitions[a.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	p.largest = max(p.largest, a.Tier.maxLimit)
	rs := readings{tier: a.Tier, now: now, h: p.history(p.records.find(a.Key.ID))}
	set := p.sets.of(rs.h.record)
	g := Grant{Exactness: Exact, Limit: a.Tier.Concurrent()}
	if set != nil {
		set.expire(now)
		g.InUse = set.inUse()
		if l, ok := set.live.byRun[a.Run]; ok {
			if l.Tier != a.Tier.Name() || l.TaskID != a.TaskID {
				return Grant{}, ErrConflict
			}
			g.Granted, g.Nonce, g.ExpiresIn = true, l.Nonce, l.Expiry.Sub(now)
			g.Decision = rs.asked(a.Cost, false)
			if a.Cost != nil {
				g.Decision.Allowed, g.Decision.Reason, g.Decision.RetryAfter = true, ReasonNone, 0
				rs.report(&g.Decision)
			}
			return g, nil
		}
	}
	if g.InUse >= g.Limit {
		g.Reason = ReasonConcurrencyLimited
		if set != nil {
			g.FreesIn = set.freesIn(now)
		}
	}
	g.Decision = rs.asked(a.Cost, g.Reason != ReasonNone)
	switch {
	case g.Limit == 0 && a.Cost != nil: // no wait helps, whatever the windows say
		g.Decision.Allowed, g.Decision.Reason, g.Decision.RetryAfter = false, ReasonConcurrencyLimited, 0
		rs.report(&g.Decision)
	case g.Decision.Reason != ReasonNone:
		g.Reason = g.Decision.Reason
	}
	if g.Reason != ReasonNone {
		return g, nil
	}
	if p.sets.full() || rs.h.record == nil && !t.admit(p, &rs, a.Key.ID) {
		return Grant{Reason: ReasonTableFull, Exactness: Degraded, Limit: g.Limit, Decision: Decision{
			Reason: ReasonTableFull, Exactness: Degraded, Limit: a.Tier.Limit(),
		}}, nil
	}
	if a.Cost != nil && *a.Cost > 0 {
		rs.count(*a.Cost, p.largest)
		rs.report(&g.Decision)
	}
	set = p.sets.give(rs.h.record)
	set.grant(Lease{
		Run: a.Run, RunID: a.RunID, TaskID: a.TaskID, RequestID: a.RequestID, Tier: a.Tier.Name(),
		Nonce: a.Nonce, Acquired: now, Expiry: now.Add(a.TTL),
	})
	g.Granted, g.Nonce, g.ExpiresIn, g.InUse = true, a.Nonce, a.TTL, set.inUse()
	return g, nil
}

// Renew lets a live lease end no earlier than ttl (MinTTL to MaxTTL) from now, and
// returns how long it has. The error is ErrGone.
func (t *Table) Renew(ref LeaseRef, ttl time.Duration, now Instant) (time.Duration, error) {
	p := &t.partitions[ref.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	set, l := p.lease(ref, now)
	if l == nil {
		return 0, ErrGone
	}
	set.live.extend(l, now.Add(ttl))
	return l.Expiry.Sub(now), nil
}

// Release ends a lease and frees exactly its own slot. It returns false if the lease
// had ended before.
func (t *Table) Release(ref LeaseRef, now Instant) bool {
	p := &t.partitions[ref.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	set, l := p.lease(ref, p.advance(now))
	if l == nil {
		return false
	}
	set.release(l)
	return true
}

// lease returns the live lease that ref names and the set that it is in.
func (p *partition) lease(ref LeaseRef, now Instant) (*leaseSet, *lease) {
	set := p.sets.of(p.records.find(ref.Key.ID))
	if set == nil {
		return nil, nil
	}
	set.expire(now)
	return set, set.find(ref)
}
