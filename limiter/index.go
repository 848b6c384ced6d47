package limiter

import "math/bits"

// An index leads from identities to the numbers of their records: open addressing
// with linear probing and no tombstones. A slot holds the record's number plus one
// and eight bits of the identity, so that a record is seldom read in vain.
//
// It grows by half beyond four fifths full, and shrinks below a quarter.
type index struct {
	slots []uint32 // tag<<24 | number+1; 0: free
}

const (
	refBits = 24
	refMask = 1<<refBits - 1

	// maxRecords is how many records a partition can number.
	maxRecords = refMask - 1

	minSlots = 8
)

func tag(id Identity) uint32 { return uint32(id.hi>>56) << refBits }

func (x *index) ref(at int) uint32 { return x.slots[at]&refMask - 1 }

// home returns the slot where the search for id begins.
func (x *index) home(id Identity) int {
	hi, _ := bits.Mul64(id.lo, uint64(len(x.slots)))
	return int(hi)
}

func (x *index) next(at int) int {
	if at++; at < len(x.slots) {
		return at
	}
	return 0
}

// find returns the slot of id.
func (x *index) find(p *partition, id Identity) (at int, ok bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	t := tag(id)
	for at = x.home(id); x.slots[at] != 0; at = x.next(at) {
		if x.slots[at]&^refMask == t && p.record(x.ref(at)).id == id {
			return at, true
		}
	}
	return at, false
}

// insert adds the partition's last record, whose identity must not be there.
func (x *index) insert(p *partition) {
	if p.n*5 > uint32(len(x.slots))*4 {
		x.resize(p, max(minSlots, len(x.slots)+len(x.slots)/2))
		return
	}
	x.place(p.record(p.n-1).id, p.n-1)
}

func (x *index) place(id Identity, ref uint32) {
	at := x.home(id)
	for x.slots[at] != 0 {
		at = x.next(at)
	}
	x.slots[at] = tag(id) | (ref + 1)
}

// resize lays the index out anew for all records, in their order in memory.
func (x *index) resize(p *partition, slots int) {
	x.slots = make([]uint32, slots)
	for ref := range p.n {
		x.place(p.record(ref).id, ref)
	}
}

// shrink gives memory back when most of it is free.
func (x *index) shrink(p *partition) {
	if len(x.slots) > minSlots && int(p.n)*4 < len(x.slots) {
		x.resize(p, max(minSlots, len(x.slots)/2))
	}
}

// move notes that the record of id, which must be there, is now number ref.
func (x *index) move(p *partition, id Identity, ref uint32) {
	if at, ok := x.find(p, id); ok {
		x.slots[at] = tag(id) | (ref + 1)
	}
}

// remove forgets id and closes the gap, so that every search still ends at a free
// slot (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
func (x *index) remove(p *partition, id Identity) {
	gap, ok := x.find(p, id)
	if !ok {
		return
	}
	for at := x.next(gap); x.slots[at] != 0; at = x.next(at) {
		home := x.home(p.record(x.ref(at)).id)
		// It may stay where it is if its home lies cyclically behind the gap, up to at.
		if gap <= at && gap < home && home <= at || gap > at && (gap < home || home <= at) {
			continue
		}
		x.slots[gap] = x.slots[at]
		gap = at
	}
	x.slots[gap] = 0
}
