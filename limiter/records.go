package limiter

import "math/bits"

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
	arena *arena[record]
	pages []uint32 // first lines of the pages; slot i is line i%pageRecords of page i/pageRecords
	homes uint32   // slots that are homes; the rest, at the end, take what runs over
	n     uint32   // records
}

const (
	pageRecords = 64 // 4 KiB: what a partition takes at a time

	// The table grows by an eighth when more than fullNum/fullDen of its slots are taken.
	fullNum, fullDen = 14, 16
	growth           = 8

	// One slot in so many is no home.
	spareShare = 32
)

func (t *records) slots() uint32 { return uint32(len(t.pages)) * pageRecords }

func (t *records) at(i uint32) *record {
	return t.arena.at(t.pages[i/pageRecords] + i%pageRecords)
}

func (t *records) home(id Identity) uint32 { return homeAmong(t.homes, id) }

func homeAmong(homes uint32, id Identity) uint32 {
	hi, _ := bits.Mul64(id.lo, uint64(homes))
	return uint32(hi)
}

// find returns the record of id, or nil.
func (t *records) find(id Identity) *record {
	if t.n == 0 {
		return nil
	}
	slots := t.slots()
	for i := t.home(id); i < slots; i++ {
		r := t.at(i)
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
	if (t.n+1)*fullDen > t.slots()*fullNum {
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
		t.release(0)
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
		if pages := int(t.n*fullDen/fullNum/pageRecords) + 1; pages < len(t.pages) {
			t.resize(pages)
		}
	}
}

// layout returns how many slots and homes so many pages have.
func layout(pages int) (slots, homes uint32) {
	slots = uint32(pages) * pageRecords
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
	for len(t.pages) < pages {
		page := t.arena.take()
		for i := range uint32(pageRecords) {
			*t.arena.at(page + i) = record{}
		}
		t.pages = append(t.pages, page)
	}
	from := t.slots()
	for i := from; i > 0; i-- {
		if r := t.at(i - 1); r.occupied() {
			from--
			if from != i-1 {
				*t.at(from), *r = *r, record{}
			}
		}
	}
	_, t.homes = layout(pages)
	to := uint32(0)
	for ; from < t.slots(); from++ {
		r := t.at(from)
		to = max(to, t.home(r.id))
		if to != from {
			*t.at(to), *r = *r, record{}
		}
		to++
	}
	t.release(pages)
}

// release gives all but the first pages back.
func (t *records) release(pages int) {
	for len(t.pages) > pages {
		last := len(t.pages) - 1
		t.arena.give(t.pages[last])
		t.pages = t.pages[:last]
	}
	if pages == 0 {
		t.pages = nil
	}
}
