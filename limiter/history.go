package limiter

// A history tells when units were admitted to one key: entries of a tick and
// the units admitted up to it, oldest first. It is a view onto a record and
// the arena that the record's larger histories live in.
//
// A tick is the end of the quantum in which units were admitted, in whole milliseconds, so
// that they expire late and never early. Of the newest tick the exact time of its latest
// hit is known as well (record.last) and used instead, so that no wait is ever
// longer than the window.
//
// Units are cumulative: what is left of a window is a difference of two
// entries, and the entry that a large cost waits for is found by binary search.
//
// An entry is a cell, whose form is that of all cells of the history:
//   - single, 16 bits of tick: each entry is one unit, so that how many there are tells what they
//     add up to. At most two have the same tick: nearly all histories are like that.
//   - narrow, 16 bits of tick and 16 of units: all that one tick admitted.
//   - wide, 32 bits and 32: for more than 65 s or 65,535 units.
//
// All count modulo their width: ticks are read as ages before the newest tick, units
// as differences to a base. Up to sixteen, eight or four cells fit into the
// record; more are kept in a tree of chunks with two branches at the
// record and sixteen at each chunk, so that a cell is found by its position, the
// front is dropped and the back extended at once, and no cell is ever moved. What nearly
// every decision asks of a tree that is not wide is in the record: the oldest tick, and the
// tail, which are the newest cells; it goes into the tree all at once. Where the tree's first and
// last leaf are is there too. Memory is slow, and each step on the way down a line of its own.
//
// Invariants:
//   - ticks grow from entry to entry, strictly unless they are single; so do units.
//   - entry i, counted from the record's head, is at position head+i of the tree; from the
//     last position on that is a multiple of the tail's cells, they are in the tail instead.
//   - a tree with a tail has more entries than the tail has room for: so its first leaf is there.
//   - a record with a tree tells which leaf has the oldest cell, and which the newest that is not in the tail.
//   - record.last is not after the newest tick, nor before the one before it.
type history struct {
	*record
	chunks *chunkPool
	newest int64 // the newest tick, in whole milliseconds, if there is an entry
}

// openHistory returns the history of a record whose chunks are in the given pool.
func openHistory(r *record, chunks *chunkPool) history {
	h := history{record: r, chunks: chunks}
	if n := r.entries(); n > 0 {
		tick, _ := h.cell(n - 1)
		last := r.last.ceilMillis()
		h.newest = last + int64((tick-uint32(last))&r.mask())
	}
	return h
}

// cell returns entry i as it is stored. A single one has no units to read: it is one.
func (h *history) cell(i uint32) (tick, cum uint32) {
	if h.meta&(formMask|heightMask) == 0 { // most are single, and in the record
		return uint32(h.singles()[i]), i + 1
	}
	return h.farCell(i)
}

func (h *history) farCell(i uint32) (tick, cum uint32) {
	words, at := h.slot(i)
	switch h.form() {
	case single:
		return uint32(singles(words)[at]), i + 1
	case narrow:
		return words[at] >> 16, words[at] & narrowMask
	}
	return words[2*at], words[2*at+1]
}

func (h *history) setCell(i, tick, cum uint32) {
	words, at := h.slot(i)
	switch h.form() {
	case single:
		singles(words)[at] = uint16(tick)
	case narrow:
		words[at] = tick<<16 | cum&narrowMask
	default:
		words[2*at], words[2*at+1] = tick, cum
	}
}

// units returns how many units entries 0 to i hold.
func (h *history) units(i uint32) uint32 {
	_, cum := h.cell(i)
	return (cum - h.base()) & h.mask()
}

// unitsBefore returns how many units the entries before i hold.
func (h *history) unitsBefore(i uint32) uint32 {
	if i == 0 {
		return 0
	}
	return h.units(i - 1)
}

// total returns how many units the history holds.
func (h *history) total() uint32 { return h.unitsBefore(h.entries()) }

// age returns how many milliseconds the tick of entry i lies before the newest.
func (h *history) age(i uint32) int64 {
	if i == 0 && h.hasTail() {
		return int64((uint32(h.newest) - h.words[baseWord]>>16) & narrowMask)
	}
	tick, _ := h.cell(i)
	return int64((uint32(h.newest) - tick) & h.mask())
}

// expiry returns when entry i leaves a window of per milliseconds.
func (h *history) expiry(i uint32, per int64) Instant {
	age := h.age(i)
	if age == 0 {
		return h.last + millis(per)
	}
	return millis(h.newest - age + per)
}

// firstLive returns the oldest entry that a window of per milliseconds still
// counts at now: the number of entries if there is none.
func (h *history) firstLive(per int64, now Instant) uint32 {
	n := h.entries()
	if n == 0 || h.last+millis(per) <= now {
		return n
	}
	limit := h.newest + per - now.floorMillis() // older than this: expired
	if n == 1 || h.age(0) < limit {
		return 0
	}
	lo, hi := uint32(0), uint32(1) // lo has expired; most often few have, and those are near each other
	for hi < n-1 && h.age(hi) >= limit {
		lo, hi = hi, min(2*hi, n-1)
	}
	for hi-lo > 1 { // hi has not
		if mid := lo + (hi-lo)/2; h.age(mid) < limit {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// firstCovering returns the oldest entry, from on, up to which the history holds
// at least the given units. It must hold so many.
func (h *history) firstCovering(from, units uint32) uint32 {
	if h.units(from) >= units {
		return from
	}
	if h.form() == single {
		return units - 1
	}
	lo, hi := from, h.entries()-1 // lo holds fewer, hi enough
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; h.units(mid) >= units {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// dropFront forgets the oldest k entries.
func (h *history) dropFront(k uint32) {
	n := h.entries()
	switch k {
	case 0:
		return
	case n:
		h.releaseTree()
		h.clear()
		return
	}
	if h.hasTail() && n-k < h.cellsIn(inlineWords) { // one less than fits, so that it does not go to and fro at each hit
		h.reencode(h.form(), k)
		return
	}
	_, base := h.cell(k - 1)
	if h.height() == 0 {
		h.dropInline(k, n, base)
		return
	}
	switch oldest, _ := h.cell(k); h.form() {
	case single:
		base = oldest << 16
	case narrow:
		base |= oldest << 16
	}
	h.words[baseWord] = base
	per := h.cellsIn(chunkWords)
	head := h.head()
	from, to := head/per, (head+k)/per // the first leaf, and the first that stays
	if to > from {
		h.releaseLeaves(from, to-1, false)
	}
	// Branches of which nothing is left go; the head counts from the first that stays.
	span := fanBits * (h.height() - 1)
	gone := to >> span
	copy(h.words[:branches], h.words[gone:branches])
	h.setHead(head + k - gone<<span*per)
	h.setEntries(n - k)
	if to > from {
		h.words[firstWord] = h.leaf(h.head() / per)
	}
	if h.form() == wide && n-k < inlineWords/2 {
		h.compact()
	}
}

// dropInline forgets the oldest k of n cells in the record, which hold base units.
func (h *history) dropInline(k, n, base uint32) {
	h.setEntries(n - k)
	switch h.form() {
	case single:
		copy(h.singles()[:], h.singles()[k:n])
		return // the place of such a cell is all that it counts
	case narrow:
		copy(h.words[:], h.words[k:n])
	default:
		copy(h.words[:], h.words[2*k:2*n])
	}
	for i := range n - k {
		tick, cum := h.cell(i)
		h.setCell(i, tick, cum-base)
	}
}

// add counts units that are admitted at now under the given quantum. Nothing that
// is in the history may have expired for its horizon. If it has as many entries as it may,
// it is thinned before, as on every copy.
func (h *history) add(units uint32, quantum int64, now Instant) {
	tick := now.ceilMillis()
	if quantum > 1 {
		tick = (tick + quantum - 1) / quantum * quantum
	}
	n := h.entries()
	if n == 0 {
		h.start(tick, units, now)
		return
	}
	if n >= maxEntries {
		h.thin()
		n = h.entries()
	}
	if tick < h.newest {
		if h.form() == single {
			h.reencode(narrow, 0)
			n = h.entries()
		}
		h.sharpen()
	}
	if f := h.formWith(tick, units, now); f != h.form() {
		h.reencode(f, 0)
		n = h.entries()
	}
	_, cum := h.cell(n - 1)
	switch {
	case tick > h.newest:
		h.push(uint32(tick), cum+units)
		h.last, h.newest = max(now, millis(h.newest)), tick
	case h.form() == single:
		h.push(uint32(h.newest), cum+units)
		h.last = max(h.last, now)
	default:
		h.setCell(n-1, uint32(h.newest), cum+units)
		h.last = max(h.last, now)
	}
}

// sharpen moves the newest tick, which a coarser quantum has put off, to the millisecond
// of its latest hit. Otherwise all hits until then would be one entry, and none would
// expire before the last. Cells must not be single.
func (h *history) sharpen() {
	n := h.entries()
	tick := h.last.ceilMillis()
	if n > 1 {
		tick = max(tick, h.newest-h.age(n-2)+1)
	}
	_, cum := h.cell(n - 1)
	h.setCell(n-1, uint32(tick), cum)
	h.newest = tick
}

// trim forgets the oldest entries as long as the rest holds at least so many units: no
// window is larger, so no decision and no wait changes. It bounds memory, and keeps sums
// of units within 32 bits.
func (h *history) trim(units uint32) (trimmed bool) {
	surplus := int64(h.total()) - int64(units)
	if surplus <= 0 || surplus < int64(h.units(0)) {
		return false
	}
	k := h.firstCovering(0, uint32(surplus)+1)
	for k > 0 && h.age(k) == h.age(k-1) { // what one tick admitted stays together
		k--
	}
	h.dropFront(k)
	return k > 0
}

// formWith returns the form in which the history can also hold new units. It never goes back to
// a smaller one.
func (h *history) formWith(tick int64, units uint32, now Instant) form {
	total := uint64(h.total()) + uint64(units)
	switch {
	case h.form() == wide || total > narrowMask || tick-h.newest+h.age(0) > narrowMask || tick-now.ceilMillis() > narrowMask:
		return wide
	case h.form() == narrow || units > 1 || tick <= h.newest && h.ofNewest(mostOfTick) || h.height() > 0 && h.head()+h.entries() == maxSingle:
		return narrow
	}
	return single
}

// ofNewest tells whether so many single cells have the newest tick.
func (h *history) ofNewest(cells uint32) bool {
	n := h.entries()
	return n >= cells && h.age(n-cells) == 0
}

// start makes the first entry of an empty history.
func (h *history) start(tick int64, units uint32, now Instant) {
	h.clear()
	switch {
	case units > narrowMask || tick-now.ceilMillis() > narrowMask:
		h.setForm(wide)
	case units > 1:
		h.setForm(narrow)
	}
	h.last, h.newest = now, tick
	h.push(uint32(tick), units)
}

// push appends a cell, making room for it.
func (h *history) push(tick, cum uint32) {
	n := h.entries()
	switch {
	case h.height() == 0 && n == h.cellsIn(inlineWords):
		h.plant()
		fallthrough
	case h.height() > 0:
		h.makeRoom(h.head() + n)
	}
	h.setEntries(n + 1)
	h.setCell(n, tick, cum)
}

// reencode writes the history anew from entry first on, with cells of form f, in the
// smallest way. They must suffice.
func (h *history) reencode(f form, first uint32) {
	n := h.entries()
	old := *h.record
	from := history{&old, h.chunks, h.newest}
	h.clear()
	h.setForm(f)
	before := from.unitsBefore(first)
	for i := first; i < n; i++ {
		if f != single && i > first && from.age(i) == from.age(i-1) { // they were single
			h.setCell(h.entries()-1, uint32(h.newest-from.age(i)), from.units(i)-before)
			continue
		}
		h.push(uint32(h.newest-from.age(i)), from.units(i)-before)
	}
	from.releaseTree()
}

// compact brings a history that has become small back into its record.
func (h *history) compact() {
	n := h.entries()
	if n == 0 || h.height() == 0 {
		return
	}
	f := h.form()
	if f == wide && h.total() <= narrowMask && h.age(0) <= narrowMask && h.newest-h.last.ceilMillis() <= narrowMask {
		f = narrow
	}
	if n <= inlineWords*2>>f {
		h.reencode(f, 0)
	}
}
