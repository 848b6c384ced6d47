package limiter

import "sync"

// A partition is a fixed slice of the key space: the unit of locking.
type partition struct {
	mu sync.Mutex // guards all below

	clock   Instant // the latest now seen: time never runs backwards in here
	records records // with what is above in one cache line: all that a search needs
	largest uint32  // of the limits of the tiers that were asked for
	chunks  chunkPool
	sets    leaseSets

	_ [28]byte // to 192 bytes
}

// advance moves the partition's clock to now and returns it. Of two callers that
// read the clock before they took the lock, the later reading holds for both.
func (p *partition) advance(now Instant) Instant {
	p.clock = max(p.clock, now)
	return p.clock
}

// history returns the history of r, which may be nil.
func (p *partition) history(r *record) history {
	if r == nil {
		return history{chunks: &p.chunks}
	}
	return openHistory(r, &p.chunks)
}

// sweep looks at up to most slots from the given one on, forgets what has expired, and
// removes the records that hold nothing. It returns where to go on (0: this was the
// last), how many slots it looked at, and how many records it removed.
func (p *partition) sweep(now Instant, from uint32, most int) (next uint32, seen, removed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	i := from
	for ; i < p.records.slots() && seen < most; seen++ {
		if r := p.records.at(i); r.occupied() && p.idle(r, now) {
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

// idle forgets what has expired of a record, and tells whether nothing is left.
func (p *partition) idle(r *record, now Instant) bool {
	h := p.history(r)
	h.dropFront(h.firstLive(int64(r.horizon), now))
	h.compact()
	p.sets.expire(r, now)
	return r.entries() == 0 && r.leases() == 0
}
