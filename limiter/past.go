package limiter

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// A past is what a history tells, apart from how it is kept: in this form it travels and
// is united with another.
//
// Invariants: ticks grow strictly, units are positive, and last is not
// after the newest tick, nor before the one before it. No entry has more than MaxLimit
// units, which fill every window.
type past struct {
	horizon int64   // ms
	last    Instant // when the newest entry's latest hit came
	entries []entry // oldest first
}

type entry struct {
	tick  int64 // ms
	units uint32
}

// tell puts what h has admitted after an instant into p. Of an entry that it may be in, it
// is taken to be.
func (h *history) tell(p *past, since Instant) {
	p.horizon, p.last, p.entries = int64(h.horizon), h.last, p.entries[:0]
	n := h.entries()
	from := uint32(0)
	if since > 0 {
		for from < n && h.expiry(from, 0) <= since {
			from++
		}
	}
	p.entries = slices.Grow(p.entries, int(n-from))
	before, base, mask := h.unitsBefore(from), h.base(), h.mask()
	for i := from; i < n; i++ {
		tick, cum := h.cell(i) // once: it may be far away
		units := (cum - base) & mask
		p.add(entry{h.newest - int64((uint32(h.newest)-tick)&mask), min(units-before, MaxLimit)})
		before = units
	}
}

// maxEntries bounds the entries of a history: to look through them holds its partition up.
const maxEntries = 1_000_000

// thin makes room in a history that has as many entries as it may.
func (h *history) thin() {
	var p past
	h.tell(&p, 0)
	p.thin()
	h.rebuild(&p)
}

// rebuild makes h tell p, thinned if that has more entries than a history may.
func (h *history) rebuild(p *past) {
	if len(p.entries) > maxEntries {
		p.thin()
	}
	h.dropFront(h.entries())
	h.clear()
	h.horizon = uint32(p.horizon)
	n := len(p.entries)
	if n == 0 {
		return
	}
	h.last, h.newest = p.last, p.entries[n-1].tick
	f := p.form()
	h.setForm(f)
	cum := uint32(0)
	for _, e := range p.entries {
		if f == single {
			for range e.units {
				h.push(uint32(e.tick), 0)
			}
			continue
		}
		cum += e.units
		h.push(uint32(e.tick), cum)
	}
}

// form returns the smallest form of cells that can hold p, which has entries.
func (p *past) form() form {
	newest, total, most := p.entries[len(p.entries)-1].tick, p.total(), uint32(0)
	for _, e := range p.entries {
		most = max(most, e.units)
	}
	switch {
	case total > narrowMask || newest-p.entries[0].tick > narrowMask || newest-p.last.ceilMillis() > narrowMask:
		return wide
	case most > mostOfTick || total > maxSingle:
		return narrow
	}
	return single
}

func (p *past) total() (units uint64) {
	for _, e := range p.entries {
		units += uint64(e.units)
	}
	return units
}

// add appends an entry. If its tick is not after the newest it becomes part of that.
func (p *past) add(e entry) {
	if n := len(p.entries); n > 0 && e.tick <= p.entries[n-1].tick {
		e.tick = p.entries[n-1].tick
		e.units += p.entries[n-1].units // of two that are at most MaxLimit
		p.entries = p.entries[:n-1]
	}
	e.units = min(e.units, MaxLimit)
	p.entries = append(p.entries, e)
}

// settle puts last where the invariant wants it, rather later than earlier.
func (p *past) settle() {
	n := len(p.entries)
	if n == 0 {
		return
	}
	if n > 1 {
		p.last = max(p.last, millis(p.entries[n-2].tick))
	}
	p.last = min(p.last, millis(p.entries[n-1].tick))
}

// thin tells old ticks apart less finely, by less than a thousandth of their ages: of however many
// entries it leaves less than fifty thousand. A tick moves on, so that no unit leaves a window early;
// to multiples of a power of two, so that it moves no further by being thinned again. What
// is recent stays as it is: shorter windows see none of it.
func (p *past) thin() {
	all := p.entries
	newest := all[len(all)-1].tick
	p.entries = all[:0]
	for _, e := range all {
		if fine := uint64(newest-e.tick) / 1000; fine > 1 {
			to := int64(1) << (bits.Len64(fine) - 1)
			e.tick = (e.tick + to - 1) &^ (to - 1)
		}
		p.add(e)
	}
	p.settle()
}

// unite returns what either of two pasts tells: their entries in the order of their ticks.
func unite(a, b *past) *past {
	u := &past{horizon: max(a.horizon, b.horizon), entries: make([]entry, 0, len(a.entries)+len(b.entries))}
	x, y := a.entries, b.entries
	for len(x) > 0 || len(y) > 0 {
		if len(y) == 0 || len(x) > 0 && x[0].tick <= y[0].tick {
			u.add(x[0])
			x = x[1:]
		} else {
			u.add(y[0])
			y = y[1:]
		}
	}
	for _, p := range [...]*past{a, b} {
		if n := len(p.entries); n > 0 && p.entries[n-1].tick == u.entries[len(u.entries)-1].tick {
			u.last = max(u.last, p.last)
		}
	}
	u.settle()
	return u
}

// follow appends what another past tells, if that is all later, as in changes that follow each other:
// many of them are not all to be written anew for each. It returns false, having changed nothing, if not.
func (p *past) follow(later *past) bool {
	n := len(p.entries)
	if n == 0 || len(later.entries) == 0 || later.entries[0].tick <= p.entries[n-1].tick {
		return false
	}
	p.entries = append(p.entries, later.entries...)
	p.horizon, p.last = max(p.horizon, later.horizon), later.last
	p.settle()
	return true
}

// forget drops what has expired at now. What was long ago has to go before a history is made of
// it, where ages are modulo 2³² ms.
func (p *past) forget(now Instant) {
	for len(p.entries) > 1 && millis(p.entries[0].tick+p.horizon) <= now {
		p.entries = p.entries[1:]
	}
	if len(p.entries) == 1 && p.last+millis(p.horizon) <= now {
		p.entries = nil
	}
}

// trim forgets the oldest entries as long as the rest holds at least so many units.
func (p *past) trim(units uint32) {
	total := p.total()
	for len(p.entries) > 0 && total-uint64(p.entries[0].units) >= uint64(units) {
		total -= uint64(p.entries[0].units)
		p.entries = p.entries[1:]
	}
}

// append encodes p as seen at base.
func (p *past) append(b []byte, base Instant) []byte {
	b = binary.AppendUvarint(b, uint64(p.horizon))
	b = binary.AppendUvarint(b, uint64(len(p.entries)))
	if len(p.entries) == 0 {
		return b
	}
	b = binary.AppendVarint(b, int64(p.last-base))
	tick := base.floorMillis()
	for i, e := range p.entries {
		if i == 0 {
			b = binary.AppendVarint(b, e.tick-tick)
		} else {
			b = binary.AppendUvarint(b, uint64(e.tick-tick))
		}
		b = binary.AppendUvarint(b, uint64(e.units))
		tick = e.tick
	}
	return b
}

// past reads a past into p, whose memory it uses.
func (r *reader) past(p *past) {
	*p = past{horizon: r.number64(0, MaxPer.Milliseconds(), "horizon"), entries: p.entries[:0]}
	n := r.number(0, uint64(len(r.b)), "entries")
	if n == 0 || r.err != nil {
		return
	}
	p.last = r.admitted(r.sent("last"), "last")
	const longest = int64((MaxPer + 2*time.Duration(maxAhead)) / time.Millisecond)
	tick := r.base.floorMillis()
	oldest := int64(0)
	for i := range n {
		if i == 0 {
			tick += r.varint(maxInstant/int64(time.Millisecond), "tick")
			oldest = tick
		} else {
			tick += r.number64(1, longest, "tick")
		}
		units := uint32(r.number(1, maxTotal, "units"))
		at := r.admitted(millis(tick), "tick")
		if r.err == nil && tick-oldest > longest {
			r.fail("a history spans %d ms, must be at most %d", tick-oldest, longest)
		}
		if r.err != nil {
			return
		}
		p.add(entry{at.floorMillis(), min(units, MaxLimit)})
	}
	if p.total() > maxTotal {
		r.fail("a history holds %d units, must be at most %d", p.total(), maxTotal)
	}
	p.settle()
}
