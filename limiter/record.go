package limiter

import "unsafe"

// A record is what a partition keeps of one key. It fills one cache line.
type record struct {
	id      Identity
	last    Instant // when the newest entry's latest hit came
	horizon uint32  // ms: the longest period that the history has to serve
	meta    uint32  // number of the lease set plus one, or 0 <<11 | entries in words <<6 | occupied <<5 | form <<3 | height of the tree
	// Height 0: the cells, with base 0. Else the tree: branches, tail or head, its end leaves, base, entries.
	words [inlineWords]uint32
}

const (
	inlineWords = 8
	branches    = 2 // of the record, when its history is a tree
	tailWord    = 2 // of cells that are not wide: the newest, in turn
	tailWords   = 2
	headWord    = 2 // of wide cells: position of the oldest entry
	lastWord    = 4 // the tree's last leaf,
	firstWord   = 5 // and its first: nearly all that is asked of a tree is at its ends
	baseWord    = 6 // cumulative units before it, modulo the cell's width; of others its tick, above that
	countWord   = 7 // entries; of those that are not wide the head, above that

	fan      = chunkWords // branches of a chunk
	fanBits  = 4
	maxDepth = 7

	formShift    = 3
	heightMask   = 1<<formShift - 1
	formMask     = 3 << formShift
	occupiedBit  = 1 << 5 // there is a record here
	countShift   = 6
	countMask    = 31 << countShift
	leasesShift  = 11
	maxLeaseSets = 1<<(32-leasesShift) - 1

	narrowMask = 0xffff
	wideMask   = 0xffffffff

	// maxSingle bounds the positions of single cells: with more the head would not fit.
	maxSingle = branches * fan * fan * 2 * chunkWords
	// mostOfTick is how many single cells may have the same tick: as narrow ones, more take less.
	mostOfTick = 2
)

// A form is how the cells of a history are kept. A greater one takes twice as much for each.
type form uint32

const (
	single form = iota
	narrow
	wide
)

func (r *record) height() uint32 { return r.meta & heightMask }
func (r *record) occupied() bool { return r.meta&occupiedBit != 0 }
func (r *record) form() form     { return form(r.meta & formMask >> formShift) }

func (r *record) setForm(f form) { r.meta = r.meta&^formMask | uint32(f)<<formShift }

func (r *record) entries() uint32 {
	switch {
	case r.height() == 0:
		return r.meta & countMask >> countShift
	case r.form() == wide:
		return r.words[countWord]
	}
	return r.words[countWord] & narrowMask
}

func (r *record) setEntries(n uint32) {
	switch {
	case r.height() == 0:
		r.meta = r.meta&^countMask | n<<countShift
	case r.form() == wide:
		r.words[countWord] = n
	default:
		r.words[countWord] = r.words[countWord]&^narrowMask | n
	}
}

// head returns the position of the oldest entry in the tree. It is less than what one branch has:
// at most 65,536 cells that are not wide.
func (r *record) head() uint32 {
	if r.form() == wide {
		return r.words[headWord]
	}
	return r.words[countWord] >> 16
}

func (r *record) setHead(pos uint32) {
	if r.form() == wide {
		r.words[headWord] = pos
		return
	}
	r.words[countWord] = pos<<16 | r.words[countWord]&narrowMask
}

// leases returns the number of the key's lease set plus one; 0: none.
func (r *record) leases() uint32     { return r.meta >> leasesShift }
func (r *record) setLeases(n uint32) { r.meta = r.meta&(1<<leasesShift-1) | n<<leasesShift }

// clear makes the history empty. Its chunks must have been released.
func (r *record) clear() { r.meta &^= heightMask | formMask | countMask }

// base returns the cumulative units before the oldest entry.
func (r *record) base() uint32 {
	if r.height() > 0 && r.form() != single {
		return r.words[baseWord] & r.mask()
	}
	return 0
}

// hasTail tells whether the newest cells are in the record, though the history is a tree.
func (r *record) hasTail() bool { return r.height() > 0 && r.form() != wide }

// tailFrom returns the position from which on cells are in the tail and not in the tree.
func (r *record) tailFrom() uint32 {
	end := r.head() + r.entries()
	if r.form() == wide {
		return end
	}
	return (end - 1) &^ (r.cellsIn(tailWords) - 1)
}

// mask covers the bits of a tick and of a count of units.
func (r *record) mask() uint32 {
	if r.form() == wide {
		return wideMask
	}
	return narrowMask
}

// cellsIn returns how many cells fit into the given number of words.
func (r *record) cellsIn(words uint32) uint32 { return words * 2 >> r.form() }

// singles returns words as the single cells that they hold.
func singles(words []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(words))), 2*len(words))
}

// singles returns the single cells that are in the record.
func (r *record) singles() *[2 * inlineWords]uint16 {
	return (*[2 * inlineWords]uint16)(unsafe.Pointer(&r.words))
}

// tail returns the single cells of the tail.
func (r *record) tail() *[2 * tailWords]uint16 {
	return (*[2 * tailWords]uint16)(unsafe.Pointer(&r.words[tailWord]))
}
