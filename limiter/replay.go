package limiter

import (
	"errors"
	"fmt"
	"time"
)

// ApplyFrom adds changes, in their order, to the copy of the state in p. They begin with sequence
// from; those before sequence first are skipped. It records nothing.
// Instants are the sender's, as for Install. After an error nothing has changed.
func (t *Table) ApplyFrom(p PartitionID, changes []byte, from, first uint64, shift time.Duration, now Instant) error {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.advance(now)
	keys := part.records.n
	if err := part.replay(changes, from, first, shift, now); err != nil {
		return fmt.Errorf("changes: %w", err)
	}
	t.keys.Add(int64(part.records.n) - int64(keys))
	return nil
}

// A change is one that was read. What of it has a meaning follows from its kind.
type change struct {
	kind byte
	hitChange
	limit uint32
	by    Instant
	lease Lease
	doubt doubt
	past  past
}

// hitChange is what most changes are.
type hitChange struct {
	at      Instant
	id      Identity
	units   uint32
	quantum int64
	horizon int64
}

// replay reads changes to their end before it makes them. Mostly they are a few hits, which are
// not read twice. Hits that follow each other are counted together.
func (s *state) replay(b []byte, from, first uint64, shift time.Duration, now Instant) error {
	r := newReader(b, formatChanges, shift, now)
	largest := uint32(r.number(0, MaxLimit, "largest limit"))
	again := r
	var c change
	var hits [few]hitChange
	n, only, leases := 0, true, 0
	var fresh uint32 // keys that s does not know, some perhaps more than once
	var last Identity
	for ; r.change(&c); n++ {
		switch c.kind {
		case changeHit:
			if n < len(hits) {
				hits[n] = c.hitChange
			}
			continue
		case changeLease, changeReleased:
			leases++
			fallthrough
		case changeUnited:
			if c.id != last && s.records.find(c.id) == nil {
				fresh++
			}
			last = c.id
		}
		only = false
	}
	switch {
	case r.err != nil:
		return r.err
	case leases > 0 && leases > s.sets.room():
		return errors.New("there are too many keys with leases")
	}
	s.largest = max(s.largest, largest)
	if only && n <= len(hits) {
		skipped := min(uint64(n), max(first, from)-from)
		s.countAll(hits[skipped:n], now)
		return nil
	}
	s.records.reserve(fresh) // those of a merge come in order, see insertNext
	r = again
	some := hits[:0]
	for seq := from; r.change(&c); seq++ {
		if seq < first {
			continue
		}
		hit := c.kind == changeHit
		if !hit || len(some) == len(hits) {
			s.countAll(some, now)
			some = some[:0]
		}
		if hit {
			some = append(some, c.hitChange)
		} else {
			s.make(&c, now)
		}
	}
	s.countAll(some, now)
	return nil
}

// change reads the next change into c. It returns false at the end and after an error.
func (r *reader) change(c *change) bool {
	if r.err != nil || len(r.b) == 0 {
		return false
	}
	c.kind = r.byte()
	sent := r.sent("instant")
	c.at, r.base = r.admitted(sent, "instant"), sent
	switch c.kind {
	case changeLargest, changeProlonged, changeDoubt:
	default:
		c.id = r.identity()
	}
	switch c.kind {
	case changeHit:
		c.units = uint32(r.number(1, uint64(MaxCost), "units"))
		c.quantum = r.number64(1, MaxPer.Milliseconds()/1000, "quantum")
		c.horizon = r.number64(MinPer.Milliseconds(), MaxPer.Milliseconds(), "horizon")
	case changeKept:
		c.horizon = r.number64(MinPer.Milliseconds(), MaxPer.Milliseconds(), "horizon")
	case changeLargest:
		c.limit = uint32(r.number(1, MaxLimit, "limit"))
	case changeUnited:
		r.past(&c.past)
	case changeLease:
		c.lease = r.lease()
	case changeReleased:
		c.lease = r.tombstone()
	case changeProlonged:
		c.by = Instant(r.number64(1, int64(MaxPer), "time"))
	case changeReset:
	case changeDoubt:
		c.doubt = r.doubt()
	default:
		r.fail("a change of kind %d is not known", c.kind)
	}
	return r.err == nil
}

// make makes one change that is no hit as its decider did. Nothing is forgotten that has not also
// expired by our own clock.
func (s *state) make(c *change, now Instant) {
	then := min(c.at, now)
	switch c.kind {
	case changeKept:
		if h := s.history(s.records.find(c.id)); h.record != nil {
			h.keepFor(c.horizon, then)
		}
	case changeLargest:
		s.largest = max(s.largest, c.limit)
	case changeUnited:
		s.unite(c.id, &c.past, then)
	case changeLease:
		s.sets.give(s.claim(c.id)).put(c.lease)
	case changeReleased:
		s.sets.give(s.claim(c.id)).bury(c.lease)
	case changeProlonged:
		s.prolong(c.by)
	case changeReset:
		if h := s.history(s.records.find(c.id)); h.record != nil {
			h.dropFront(h.entries())
		}
	case changeDoubt:
		s.raise(c.doubt)
	}
}

// few is how many hits are counted at once.
const few = 16

// countAll counts a few hits: first it looks where all belong, so that the memory of one is on its way
// while others are counted.
func (s *state) countAll(hits []hitChange, now Instant) {
	var found [few]*record
	for i := range hits {
		if found[i] = s.records.find(hits[i].id); found[i] != nil {
			found[i].expectEnds(hits[i].horizon, hits[i].at, &s.chunks)
		}
	}
	records := s.records.n
	for i := range hits {
		r := found[i]
		if r == nil || s.records.n != records { // a new one has moved the others
			r = s.claim(hits[i].id)
		}
		s.count(r, &hits[i], now)
	}
}

// count counts a hit of the key that the record is of.
func (s *state) count(r *record, c *hitChange, now Instant) {
	if c.quantum != 1 || c.at > now || !s.repeat(r, c) {
		s.add(r, c, min(c.at, now))
	}
}

// add adds a hit to a history.
func (s *state) add(r *record, c *hitChange, then Instant) {
	h := s.history(r)
	h.keepFor(c.horizon, then)
	if room := maxTotal - h.total(); room > 0 {
		h.add(min(c.units, room), c.quantum, c.at)
		h.trim(s.largest)
	}
}

// repeat does what add does, the way most hits were decided. It returns false, having changed
// nothing, if the history is another, or has to be trimmed.
func (s *state) repeat(r *record, c *hitChange) bool {
	var d Decision
	return r.quick(&window{limit: s.largest, per: c.horizon}, Cost(c.units), c.at, &s.chunks, &d)
}

// keepFor forgets what has expired at now, and keeps the rest for at least so many
// milliseconds. A history without entries is kept for what it is asked next.
func (h *history) keepFor(horizon int64, now Instant) {
	h.dropFront(h.firstLive(int64(h.horizon), now))
	if h.entries() == 0 {
		h.horizon = 0
	}
	h.horizon = max(h.horizon, uint32(horizon))
}

// prolong lets all leases end later.
func (s *state) prolong(by Instant) {
	for _, set := range s.sets.sets {
		if set != nil {
			set.prolong(by)
		}
	}
}
