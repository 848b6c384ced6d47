package limiter

// A history tells when units were admitted to one key: entries of a tick and
// the units admitted up to it, oldest first. It is a view onto a record and
// the arena that the record's larger histories live in.
//
// Entries are run-length encoded: all that is admitted within one quantum is one
// entry, whose tick is the end of that quantum in whole milliseconds, so that it
// expires late and never early. Of the newest entry the exact time of its latest
// hit is known as well (record.last) and used instead, so that no wait is ever
// longer than the window.
//
// Units are cumulative: what is left of a window is a difference of two
// entries, and the entry that a large cost waits for is found by binary search.
//
// An entry is a narrow cell (16 bits of tick, 16 of units) while all ticks lie
// within 65 s and all units within 65,535, else a wide one (32 and 32 bits). Both
// count modulo their width: ticks are read as ages before the newest tick, units
// as differences to a base. Up to eight narrow or four wide cells fit into the
// record; more are kept in a tree of chunks with two branches at the
// record and sixteen at each chunk, so that a cell is found by its position, the
// front is dropped and the back extended at once, and no cell is ever moved. What nearly
// every decision asks of a tree of narrow cells is in the record: the oldest tick, and the
// tail, which are the newest cells; it goes into the tree four cells at a time. Memory is
// slow, and a tree's ends lie in lines of their own.
//
// Invariants:
//   - ticks grow strictly from entry to entry; so do units.
//   - entry i, counted from the record's head, is at position head+i of the tree; from the
//     last position on that is a multiple of tailCells, narrow cells are in the tail instead.
//   - a tree of narrow cells has more than tailCells entries: so its first leaf is there.
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

// A record is what a partition keeps of one key. It fills one cache line.
type record struct {
	id      Identity
	last    Instant // when the newest entry's latest hit came
	horizon uint32  // ms: the longest period that the history has to serve
	meta    uint32  // number of the lease set plus one, or 0 <<9 | entries in words <<5 | occupied <<4 | wide <<3 | height of the tree
	// Height 0: the cells, with base 0. Else the tree: branches, tail or head, base, entries.
	words [inlineWords]uint32
}

const (
	inlineWords = 8
	branches    = 2 // of the record, when its history is a tree
	tailWord    = 2 // of narrow cells: the newest, those of position p at p%tailCells
	tailCells   = 4
	headWord    = 5 // of wide cells: position of the oldest entry
	baseWord    = 6 // cumulative units before it, modulo the cell's width; of narrow cells its tick, above that
	countWord   = 7 // entries; of narrow cells the head, above that: no branch of theirs has more positions

	fan      = chunkWords // branches of a chunk
	fanBits  = 4
	maxDepth = 7

	heightMask   = wideBit - 1
	wideBit      = 1 << 3
	occupiedBit  = 1 << 4 // there is a record here
	countShift   = 5
	countMask    = 15 << countShift
	leasesShift  = 9
	maxLeaseSets = 1<<(32-leasesShift) - 1

	narrowMask = 0xffff
	wideMask   = 0xffffffff
)

func (r *record) height() uint32 { return r.meta & heightMask }
func (r *record) occupied() bool { return r.meta&occupiedBit != 0 }
func (r *record) wide() bool     { return r.meta&wideBit != 0 }

func (r *record) entries() uint32 {
	switch {
	case r.height() == 0:
		return r.meta & countMask >> countShift
	case r.wide():
		return r.words[countWord]
	}
	return r.words[countWord] & narrowMask
}

func (r *record) setEntries(n uint32) {
	switch {
	case r.height() == 0:
		r.meta = r.meta&^countMask | n<<countShift
	case r.wide():
		r.words[countWord] = n
	default:
		r.words[countWord] = r.words[countWord]&^narrowMask | n
	}
}

// head returns the position of the oldest entry in the tree.
func (r *record) head() uint32 {
	if r.wide() {
		return r.words[headWord]
	}
	return r.words[countWord] >> 16
}

func (r *record) setHead(pos uint32) {
	if r.wide() {
		r.words[headWord] = pos
		return
	}
	r.words[countWord] = pos<<16 | r.words[countWord]&narrowMask
}

// leases returns the number of the key's lease set plus one; 0: none.
func (r *record) leases() uint32     { return r.meta >> leasesShift }
func (r *record) setLeases(n uint32) { r.meta = r.meta&(1<<leasesShift-1) | n<<leasesShift }

// clear makes the history empty. Its chunks must have been released.
func (r *record) clear() { r.meta &^= heightMask | wideBit | countMask }

// base returns the cumulative units before the oldest entry.
func (r *record) base() uint32 {
	if r.height() > 0 {
		return r.words[baseWord] & r.mask()
	}
	return 0
}

// hasTail tells whether the newest cells are in the record, though the history is a tree.
func (r *record) hasTail() bool { return r.height() > 0 && !r.wide() }

// tailFrom returns the position from which on cells are in the tail and not in the tree.
func (r *record) tailFrom() uint32 {
	end := r.head() + r.entries()
	if r.wide() {
		return end
	}
	return (end - 1) &^ (tailCells - 1)
}

// mask covers the bits of a tick and of a count of units.
func (r *record) mask() uint32 {
	if r.wide() {
		return wideMask
	}
	return narrowMask
}

// cellsIn returns how many cells fit into the given number of words.
func (r *record) cellsIn(words uint32) uint32 {
	if r.wide() {
		return words / 2
	}
	return words
}

// cell returns entry i as it is stored.
func (h *history) cell(i uint32) (tick, cum uint32) {
	if h.meta&(wideBit|heightMask) == 0 { // most are in the record, and narrow
		w := h.words[i]
		return w >> 16, w & narrowMask
	}
	return h.farCell(i)
}

func (h *history) farCell(i uint32) (tick, cum uint32) {
	words, at := h.slot(i)
	if h.wide() {
		return words[2*at], words[2*at+1]
	}
	return words[at] >> 16, words[at] & narrowMask
}

func (h *history) setCell(i, tick, cum uint32) {
	words, at := h.slot(i)
	if h.wide() {
		words[2*at], words[2*at+1] = tick, cum
		return
	}
	words[at] = tick<<16 | cum&narrowMask
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
	if i == h.entries()-1 {
		return h.last + millis(per)
	}
	return millis(h.newest - h.age(i) + per)
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
	if h.hasTail() && n-k < inlineWords { // one less than fits, so that it does not go to and fro at each hit
		h.reencode(false, k)
		return
	}
	_, base := h.cell(k - 1)
	if h.height() == 0 {
		h.dropInline(k, n, base)
		return
	}
	if !h.wide() {
		oldest, _ := h.cell(k)
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
	if h.wide() && n-k < inlineWords/2 {
		h.compact()
	}
}

// dropInline forgets the oldest k of n cells in the record, which hold base units.
func (h *history) dropInline(k, n, base uint32) {
	if h.wide() {
		copy(h.words[:], h.words[2*k:2*n])
	} else {
		copy(h.words[:], h.words[k:n])
	}
	h.setEntries(n - k)
	for i := range n - k {
		tick, cum := h.cell(i)
		h.setCell(i, tick, cum-base)
	}
}

// add counts units that are admitted at now under the given quantum. Nothing that
// is in the history may have expired for its horizon.
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
	if tick < h.newest {
		h.sharpen()
	}
	if !h.wide() && !h.fitsNarrow(tick, h.total(), units, now) {
		h.reencode(true, 0)
	}
	_, cum := h.cell(n - 1)
	switch {
	case tick <= h.newest:
		h.setCell(n-1, uint32(h.newest), cum+units)
		h.last = max(h.last, now)
	default:
		h.push(uint32(tick), cum+units)
		h.last, h.newest = max(now, millis(h.newest)), tick
	}
}

// sharpen moves the newest tick, which a coarser quantum has put off, to the millisecond
// of its latest hit. Otherwise all hits until then would be one entry, and none would
// expire before the last.
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
	h.dropFront(h.firstCovering(0, uint32(surplus)+1))
	return true
}

// fitsNarrow tells whether narrow cells can also hold a new entry.
func (h *history) fitsNarrow(tick int64, total, units uint32, now Instant) bool {
	return uint64(total)+uint64(units) <= narrowMask && tick-h.newest+h.age(0) <= narrowMask && tick-now.ceilMillis() <= narrowMask
}

// start makes the first entry of an empty history.
func (h *history) start(tick int64, units uint32, now Instant) {
	h.clear()
	if units > narrowMask || tick-now.ceilMillis() > narrowMask {
		h.meta |= wideBit
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

// reencode writes the history anew from entry first on, with wide or narrow cells, in the
// smallest form. Narrow cells must suffice if they are asked for.
func (h *history) reencode(wide bool, first uint32) {
	n := h.entries()
	old := *h.record
	from := history{&old, h.chunks, h.newest}
	h.clear()
	if wide {
		h.meta |= wideBit
	}
	before := from.unitsBefore(first)
	for i := first; i < n; i++ {
		h.push(uint32(h.newest-from.age(i)), from.units(i)-before)
	}
	from.releaseTree()
}

// compact brings a history that has become small back into its record.
func (h *history) compact() {
	n := h.entries()
	if n == 0 || h.height() == 0 || n > inlineWords {
		return
	}
	wide := h.total() > narrowMask || h.age(0) > narrowMask || h.newest-h.last.ceilMillis() > narrowMask
	if !wide || n <= inlineWords/2 {
		h.reencode(wide, 0)
	}
}
