package limiter

import "sync"

// A partition is a fixed slice of the key space: the unit of locking. Its records
// lie densely in pages that never move while it grows; a small open-addressed index
// leads from an identity to its record.
type partition struct {
	mu sync.Mutex // guards all below

	clock   Instant // the latest now seen: time never runs backwards in here
	index   index
	pages   []*page[record]
	n       uint32 // records
	chunks  chunkPool
	sets    leaseSets
	records *arena[record]

	_ [48]byte // 192 bytes: what finding a record needs lies in the first 64
}

// advance moves the partition's clock to now and returns it. Of two callers that
// read the clock before they took the lock, the later reading holds for both.
func (p *partition) advance(now Instant) Instant {
	p.clock = max(p.clock, now)
	return p.clock
}

func (p *partition) record(ref uint32) *record {
	return &p.pages[ref/pageLines][ref%pageLines]
}

// history returns the history of r, which may be nil.
func (p *partition) history(r *record) history {
	if r == nil {
		return history{chunks: &p.chunks}
	}
	return openHistory(r, &p.chunks)
}

// find returns the record of id, or nil.
func (p *partition) find(id Identity) *record {
	if at, ok := p.index.find(p, id); ok {
		return p.record(p.index.ref(at))
	}
	return nil
}

// insert makes an empty record for id, which must not have one. The record is
// valid until the next removal.
func (p *partition) insert(id Identity) *record {
	if p.n == uint32(len(p.pages)*pageLines) {
		p.pages = append(p.pages, p.records.take())
	}
	r := p.record(p.n)
	*r = record{id: id}
	p.n++
	p.index.insert(p)
	return r
}

// remove forgets record ref, which must be empty, and moves the last record to
// its place. Pages that are then empty are given back, but for one.
func (p *partition) remove(ref uint32) {
	p.index.remove(p, p.record(ref).id)
	p.n--
	if ref != p.n {
		moved := p.record(p.n)
		p.index.move(p, moved.id, ref)
		*p.record(ref) = *moved
	}
	keep := int(p.n/pageLines) + 2
	if p.n == 0 {
		keep = 0
	}
	for last := len(p.pages) - 1; last >= keep; last-- {
		p.records.give(p.pages[last])
		p.pages = p.pages[:last]
	}
	if p.n == 0 {
		p.pages, p.index = nil, index{}
		return
	}
	p.index.shrink(p)
}

// sweep looks at up to most records from the given one on, forgets what has
// expired, and removes the records that hold nothing. It returns where to go on
// (0: this was the last), how many it looked at, and how many it removed.
func (p *partition) sweep(now Instant, from uint32, most int) (next uint32, seen, removed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	ref := from
	for ; ref < p.n && seen < most; seen++ {
		r := p.record(ref)
		h := p.history(r)
		h.dropFront(h.firstLive(int64(r.horizon), now))
		h.compact()
		if r.leases != 0 {
			p.sets.expire(r, now)
		}
		if r.entries() == 0 && r.leases == 0 {
			p.remove(ref)
			removed++
			continue
		}
		ref++
	}
	if ref >= p.n {
		ref = 0
	}
	return ref, seen, removed
}
