package limiter

import (
	"errors"
	"time"
)

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
	Reason    Reason // of a shadow tier also if it was granted: why it would not have been
	Exactness Exactness
	Permit    Instant // until when the answer may be told: compare again before replying
	InUse     uint32  // live leases of the key, with this one if it was granted
	Limit     uint32  // of the tier
	Nonce     uint64  // of the lease
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
// if that has another tier or task_id, Acquire returns ErrConflict. If the partition is
// not permitted at now it returns ErrUndecided.
func (t *Table) Acquire(a *Acquisition, now Instant) (Grant, error) {
	p := &t.partitions[a.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if !t.mayDecide(p, now) {
		return Grant{Permit: p.permit}, ErrUndecided
	}
	p.meet(a.Tier, now)
	rs := readings{tier: a.Tier, now: now, h: p.history(p.records.find(a.Key.ID))}
	rs.doubt(p.doubts)
	g, err := t.acquireLocked(p, a, &rs)
	g.Permit, g.Decision.Permit = p.permit, p.permit
	return g, err
}

func (t *Table) acquireLocked(p *partition, a *Acquisition, rs *readings) (Grant, error) {
	g := Grant{Exactness: rs.exactness, Limit: a.Tier.Concurrent()}
	set := p.sets.of(rs.h.record)
	if set != nil {
		set.expire(rs.now)
		g.InUse = set.inUse()
		if l, ok := set.live.byRun[a.Run]; ok {
			err := p.again(a, rs, l, &g)
			return g, err
		}
	}
	if g.InUse >= g.Limit {
		g.Reason = ReasonConcurrencyLimited
		if set != nil {
			g.FreesIn = set.freesIn(rs.now)
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
	if !a.Tier.overlooks(g.Reason, g.InUse) {
		p.kept(a.Key.ID, rs)
		return g, nil
	}
	if p.sets.full() || rs.h.record == nil && !t.admit(p, rs, a.Key.ID) {
		return Grant{Reason: ReasonTableFull, Exactness: Degraded, Limit: g.Limit, Decision: Decision{
			Reason: ReasonTableFull, Exactness: Degraded, Limit: a.Tier.Limit(),
		}}, nil
	}
	if a.Cost != nil && *a.Cost > 0 && g.Reason == ReasonNone {
		p.count(a.Key.ID, rs, *a.Cost)
		rs.report(&g.Decision)
	} else {
		p.kept(a.Key.ID, rs)
	}
	set = p.sets.give(rs.h.record)
	l := Lease{
		Run: a.Run, RunID: a.RunID, TaskID: a.TaskID, RequestID: a.RequestID, Tier: a.Tier.Name(),
		Nonce: a.Nonce, Acquired: rs.now, Expiry: rs.now.Add(a.TTL),
	}
	p.grant(a.Key.ID, set, l, rs.now)
	g.Granted, g.Nonce, g.ExpiresIn, g.InUse = true, a.Nonce, a.TTL, set.inUse()
	if a.Cost != nil {
		a.Tier.Shade(&g.Decision)
	}
	return g, nil
}

// again answers an acquisition for a run that has the live lease l.
func (p *partition) again(a *Acquisition, rs *readings, l *lease, g *Grant) error {
	if l.Tier != a.Tier.Name() || l.TaskID != a.TaskID && !l.Adopted {
		*g = Grant{}
		return ErrConflict
	}
	if l.Adopted {
		l.RunID, l.TaskID, l.RequestID, l.Adopted = a.RunID, a.TaskID, a.RequestID, false
		if p.recorder != nil {
			p.recorder.lease(a.Key.ID, &l.Lease, rs.now)
		}
	}
	g.Granted, g.Nonce, g.ExpiresIn = true, l.Nonce, l.Expiry.Sub(rs.now)
	g.Decision = rs.asked(a.Cost, false)
	p.kept(a.Key.ID, rs)
	if a.Cost != nil {
		g.Decision.Allowed, g.Decision.Reason, g.Decision.RetryAfter = true, ReasonNone, 0
		rs.report(&g.Decision)
		a.Tier.Shade(&g.Decision)
	}
	return nil
}

// grant adds a lease for a run that has none.
func (p *partition) grant(id Identity, set *leaseSet, l Lease, now Instant) {
	set.grant(l)
	if p.recorder != nil {
		p.recorder.lease(id, &l, now)
	}
}

// Renew lets a live lease end no earlier than ttl (MinTTL to MaxTTL) from now, and
// returns how long it has. The error is ErrGone or ErrUndecided.
//
// The partition may have lost a lease that its holder has. So for MaxTTL after a Doubt
// one that it does not know, and has no tombstone of, is taken up again with the tier
// adopt (nil: it is not), be it over that tier's limit.
func (t *Table) Renew(ref LeaseRef, ttl time.Duration, adopt *Tier, now Instant) (time.Duration, error) {
	p := &t.partitions[ref.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if !t.mayDecide(p, now) {
		return 0, ErrUndecided
	}
	set, l := p.lease(ref, now)
	if l == nil {
		return t.adopt(p, set, ref, ttl, adopt, now)
	}
	before := l.Expiry
	set.live.extend(l, now.Add(ttl))
	if l.Expiry > before && p.recorder != nil {
		p.recorder.lease(ref.Key.ID, &l.Lease, now)
	}
	return l.Expiry.Sub(now), nil
}

// adopt takes up a lease that p does not know. set may be nil.
func (t *Table) adopt(p *partition, set *leaseSet, ref LeaseRef, ttl time.Duration, tier *Tier, now Instant) (time.Duration, error) {
	if tier == nil || p.doubts.lasting(MaxTTL, now).exactness == 0 || p.sets.full() || set.knows(ref) {
		return 0, ErrGone
	}
	r := t.recordOf(p, ref.Key.ID)
	p.meet(tier, now)
	p.grant(ref.Key.ID, p.sets.give(r), Lease{
		Run: ref.Run, Tier: tier.Name(), Nonce: ref.Nonce, Acquired: now, Expiry: now.Add(ttl), Adopted: true,
	}, now)
	return ttl, nil
}

// knows tells whether the run of ref is known to hold another lease, or the lease to be
// released. s may be nil.
func (s *leaseSet) knows(ref LeaseRef) bool {
	if s == nil {
		return false
	}
	if _, ok := s.live.byRun[ref.Run]; ok {
		return true
	}
	dead, ok := s.tombstones.byRun[ref.Run]
	return ok && dead.Nonce == ref.Nonce
}

// Release ends a lease and frees exactly its own slot. It returns false if the lease
// had ended before, or is not known; ErrUndecided if the partition is not permitted at now.
func (t *Table) Release(ref LeaseRef, now Instant) (bool, error) {
	p := &t.partitions[ref.Key.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if !t.mayDecide(p, now) {
		return false, ErrUndecided
	}
	set, l := p.lease(ref, now)
	if l == nil {
		t.releaseUnknown(p, set, ref, now)
		return false, nil
	}
	set.release(l)
	if p.recorder != nil {
		p.recorder.released(ref.Key.ID, &l.Lease, now)
	}
	return true, nil
}

// releaseUnknown leaves the tombstone of a lease that p, being in doubt, may have lost: so
// that neither a late renewal nor another holder's state brings it back. set may be nil.
func (t *Table) releaseUnknown(p *partition, set *leaseSet, ref LeaseRef, now Instant) {
	if p.doubts.lasting(MaxTTL, now).exactness == 0 || p.sets.full() || set.knows(ref) {
		return
	}
	dead := Lease{Run: ref.Run, Nonce: ref.Nonce, Expiry: now.Add(MaxTTL)}
	p.sets.give(t.recordOf(p, ref.Key.ID)).bury(dead)
	if p.recorder != nil {
		p.recorder.released(ref.Key.ID, &dead, now)
	}
}

// recordOf returns the record of a key whose lease exists, also in a full table.
func (t *Table) recordOf(p *partition, id Identity) *record {
	r := p.records.find(id)
	if r == nil {
		r = p.records.insert(id)
		t.keys.Add(1)
	}
	return r
}

// Prolong lets each live lease of p end d later, 0 to MaxPer: by the time in which nobody
// could renew, which is not longer than since p was last decided for. A lease that ended
// in that time is live again. A tombstone lasts as long as the lease that it is of.
func (t *Table) Prolong(p PartitionID, d time.Duration, now Instant) {
	if d <= 0 {
		return
	}
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	by := Instant(min(d, MaxPer))
	part.prolong(by)
	if part.recorder != nil {
		part.recorder.prolonged(by, part.advance(now))
	}
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
