package limiter

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
)

// records are the records of one partition: an open-addressing table with linear
// probing whose records lie in the order of their identities' hashes. So a search reads
// one or two neighbouring lines, whether it finds or not, and nothing leads to a record
// but its hash: memory is slow, and each further step would cost as much as all else.
//
// A hash has its home at the same fraction of the table as it has of all hashes. The
// order of the records is thus the same whatever the size, and the table grows and
// shrinks where it is, page by page, leaving nothing behind for the garbage collector.
//
// Invariants, with lo for the half of an identity that is its hash:
//   - an occupied slot's record has a home at or before it, and no free slot lies between.
//   - of two occupied slots the later has the greater lo, or the same.
type records struct {
	*outline
	n uint32 // records
}

// An outline says where the slots are. It does not change once it is told.
type outline struct {
	arena *arena[record]
	pages []uint32 // first lines of the pages; slot i is line i%PageRecords of page i/PageRecords
	homes uint32   // slots that are homes; the rest, at the end, take what runs over
	// told is where those find it who look without the partition's lock; nil: nobody does.
	told *atomic.Pointer[outline]
}

// PageRecords is how many places for a key a partition takes at a time: 8 KiB.
const PageRecords = 128

const (
	// The table grows by an eighth when more than fullNum/fullDen of its slots are taken.
	fullNum, fullDen = 12, 16
	growth           = 8

	// One slot in so many is no home.
	spareShare = 32
)

// newRecords returns records without any. told may be nil.
func newRecords(a *arena[record], told *atomic.Pointer[outline]) records {
	return records{outline: &outline{arena: a, told: told}}
}

// tell lets those see the outline who look without the lock.
func (o *outline) tell() {
	if o.told != nil {
		o.told.Store(o)
	}
}

// untold returns the outline for a state that nobody else sees any more.
func (o *outline) untold() *outline { return &outline{arena: o.arena, pages: o.pages, homes: o.homes} }

func (o *outline) slots() uint32 { return uint32(len(o.pages)) * PageRecords }

// at returns slot i.
func (o *outline) at(i uint32) *record { return o.arena.at(o.pages[i/PageRecords] + i%PageRecords) }

func (o *outline) home(id Identity) uint32 { return homeAmong(o.homes, id) }

func homeAmong(homes uint32, id Identity) uint32 {
	hi, _ := bits.Mul64(id.lo, uint64(homes))
	return uint32(hi)
}

// find returns the record of id, or nil.
func (t *records) find(id Identity) *record {
	if t.n == 0 {
		return nil
	}
	o := t.outline
	slots := o.slots()
	for i := o.home(id); i < slots; i++ {
		r := o.at(i)
		switch {
		case r.id == id && r.occupied():
			return r
		case r.id.lo > id.lo || !r.occupied():
			return nil
		}
	}
	return nil
}

// insert makes an empty record for id, which must have none. Pointers to other records
// are void afterwards.
func (t *records) insert(id Identity) *record {
	if t.full() {
		t.resize(len(t.pages) + max(1, len(t.pages)/growth))
	}
	for {
		if i, ok := t.makeRoom(id); ok {
			t.n++
			r := t.at(i)
			*r = record{id: id, meta: occupiedBit}
			return r
		}
		t.resize(len(t.pages) + 1)
	}
}

// full tells whether the table has to grow for another record.
func (t *records) full() bool { return (t.n+1)*fullDen > t.slots()*fullNum }

// insertNext is insert where records come in their order, as in a snapshot. What they fill of the
// table is as much as they are through of all hashes: in one that grew only as it fills they would
// crowd at its start, and each find its place behind all others. So it grows at once to as many as
// are to be expected, and to no more than most. As that is a guess, it is made again when they are
// twice as many.
func (t *records) insertNext(id Identity, most uint32) *record {
	if full := t.full(); t.n > 0 && (full || t.n >= PageRecords && t.n&(t.n-1) == 0) {
		n := float64(t.n)
		all := (n - math.Sqrt(n)) / math.Ldexp(float64(id.lo), -64) // less by a standard deviation
		guess := uint32(min(all, float64(most)))
		if guess > t.n && (full || pagesFor(guess) > len(t.pages)+len(t.pages)/growth) {
			t.reserve(guess - t.n)
		}
	}
	return t.insert(id)
}

// reserve makes room for so many records more.
func (t *records) reserve(more uint32) {
	if pages := pagesFor(t.n + more); more > 0 && pages > len(t.pages) {
		t.resize(pages)
	}
}

func pagesFor(n uint32) int { return int(n*fullDen/fullNum/PageRecords) + 1 }

// makeRoom frees the slot where id belongs, by moving what is behind it on by one. It
// returns false if that would run over the end.
func (t *records) makeRoom(id Identity) (slot uint32, ok bool) {
	slots := t.slots()
	i := t.home(id)
	for ; i < slots && t.at(i).occupied() && t.at(i).id.lo <= id.lo; i++ {
	}
	free := i
	for ; free < slots && t.at(free).occupied(); free++ {
	}
	if free >= slots {
		return 0, false
	}
	for ; free > i; free-- {
		*t.at(free) = *t.at(free - 1)
	}
	return i, true
}

// remove forgets the record in slot i, and moves back those behind it that are not at
// home. Pointers to other records are void afterwards.
func (t *records) remove(i uint32) {
	t.n--
	if t.n == 0 {
		t.release()
		return
	}
	for slots := t.slots(); i+1 < slots; i++ {
		next := t.at(i + 1)
		if !next.occupied() || t.home(next.id) > i {
			break
		}
		*t.at(i) = *next
	}
	*t.at(i) = record{}
}

// shrink gives memory back if more than half of it is free. It is for the end of a sweep:
// in the middle of one what is left crowds at the end of the table.
func (t *records) shrink() {
	if t.n*2 < t.slots() {
		if pages := pagesFor(t.n); pages < len(t.pages) {
			t.resize(pages)
		}
	}
}

// layout returns how many slots and homes so many pages have.
func layout(pages int) (slots, homes uint32) {
	slots = uint32(pages) * PageRecords
	return slots, slots - max(1, slots/spareShare)
}

// fits tells whether no record would run over the end of so many pages.
func (t *records) fits(pages int) bool {
	slots, homes := layout(pages)
	end := uint32(0)
	for i := range t.slots() {
		if r := t.at(i); r.occupied() {
			end = max(end, homeAmong(homes, r.id)) + 1
		}
	}
	return end <= slots
}

// resize lays the records out anew on so many pages, or the next number on which they
// fit: it packs them at the end of the larger of the two sizes, and from there puts each
// at its home or behind the one before, which never reaches one that is still to come.
func (t *records) resize(pages int) {
	for !t.fits(pages) {
		pages++
	}
	from := t.slots()
	larger := &outline{arena: t.arena, pages: slices.Grow(slices.Clone(t.pages), max(0, pages-len(t.pages))), told: t.told}
	for len(larger.pages) < pages {
		larger.pages = append(larger.pages, t.takePage())
	}
	t.outline = larger
	end := t.slots()
	for i := from; i > 0; i-- {
		if r := t.at(i - 1); r.occupied() {
			end--
			if end != i-1 {
				*t.at(end), *r = *r, record{}
			}
		}
	}
	_, t.homes = layout(pages)
	to := uint32(0)
	for ; end < t.slots(); end++ {
		r := t.at(end)
		to = max(to, t.home(r.id))
		if to != end {
			*t.at(to), *r = *r, record{}
		}
		to++
	}
	for len(t.pages) > pages {
		last := len(t.pages) - 1
		t.arena.give(t.pages[last])
		t.pages = t.pages[:last]
	}
	t.tell()
}

// takePage returns a page of free slots.
func (t *records) takePage() uint32 {
	page := t.arena.take()
	for i := range uint32(PageRecords) {
		*t.arena.at(page + i) = record{}
	}
	return page
}

// release gives all pages back.
func (t *records) release() {
	for _, page := range t.pages {
		t.arena.give(page)
	}
	t.outline = &outline{arena: t.arena, told: t.told}
	t.tell()
}
