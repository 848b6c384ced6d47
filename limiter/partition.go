package limiter

import (
	"sync"
)

// A partition is a fixed slice of the key space: the unit of locking.
type partition struct {
	mu sync.Mutex // guards all below

	clock    Instant   // the latest now seen: time never runs backwards in here
	permit   Instant   // until when the partition may be decided for
	recorder *recorder // nil: what happens is not recorded
	state              // its first part in one cache line with what is above: all that most decisions need
	paused   *recorder // that goes on later; recorder is nil meanwhile
	_        [24]byte  // so that partitions share no cache line
}

// state is what a partition knows. Swept or not, with the same content it decides the same.
type state struct {
	records records
	doubts  *doubts // nil: what it knows is exact
	largest uint32  // of the limits of all tiers that were known at the start or asked for
	chunks  chunkPool
	sets    leaseSets
}

// newState returns an empty state with the table's memory.
func (t *Table) newState() state {
	return state{records: newRecords(t.records, nil), largest: t.largest, chunks: chunkPool{arena: t.chunks}}
}

// release gives the memory back.
func (s *state) release() {
	s.records.release()
	for _, page := range s.chunks.pages {
		s.chunks.arena.give(page)
	}
	*s = state{records: newRecords(s.records.arena, s.records.told), largest: s.largest, chunks: chunkPool{arena: s.chunks.arena}}
}

// each calls f for every record, in order.
func (s *state) each(f func(r *record)) {
	for i := range s.records.slots() {
		if r := s.records.at(i); r.occupied() {
			f(r)
		}
	}
}

// claim returns the record of id, which it makes if there is none.
func (s *state) claim(id Identity) *record {
	if r := s.records.find(id); r != nil {
		return r
	}
	return s.records.insert(id)
}

// advance moves the partition's clock to now and returns it. Of two callers that
// read the clock before they took the lock, the later reading holds for both.
func (p *partition) advance(now Instant) Instant {
	p.clock = max(p.clock, now)
	return p.clock
}

// history returns the history of r, which may be nil.
func (s *state) history(r *record) history {
	if r == nil {
		return history{chunks: &s.chunks}
	}
	return openHistory(r, &s.chunks)
}

// sweep looks at up to most slots from the given one on, forgets what has expired, and
// removes the records that hold nothing. It returns where to go on (0: this was the
// last), how many slots it looked at, and how many records it removed.
func (p *partition) sweep(now Instant, from uint32, most int) (next uint32, seen, removed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	expired := now
	if now >= p.permit {
		expired -= Instant(copyGrace)
	}
	if p.doubts.lasting(MaxPer, now).exactness == 0 {
		p.doubts = nil
	}
	i := from
	for ; i < p.records.slots() && seen < most; seen++ {
		if r := p.records.at(i); r.occupied() && p.idle(r, expired) {
			p.records.remove(i)
			removed++
			continue
		}
		i++
	}
	if i >= p.records.slots() {
		p.records.shrink()
		i = 0
	}
	return i, seen, removed
}

// copyGrace is how much longer a partition that is not decided for keeps what expires: its
// holder may have prolonged it, by a change that is still under way, or who holds it next
// may prolong it.
const copyGrace = MaxTTL

// idle forgets what has expired of a record, and tells whether nothing is left.
func (s *state) idle(r *record, now Instant) bool {
	h := s.history(r)
	h.dropFront(h.firstLive(int64(r.horizon), now))
	h.compact()
	s.sets.expire(r, now)
	return r.entries() == 0 && r.leases() == 0
}
