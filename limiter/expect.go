package limiter

import (
	"encoding/binary"
	"unsafe"
)

// Expect tells the table that k is about to be asked for: its memory is then on its way while
// others are decided. In a large table a decision is mostly waiting for memory, and a batch of
// which all keys are expected first waits for many at a time. It decides and changes nothing.
//
// It takes no lock: to take one is to wait for all memory that was asked for before.
func (t *Table) Expect(k Key) {
	prefetch(unsafe.Pointer(&t.partitions[k.Partition]))
	if o := t.outlines[k.Partition].Load(); len(o.pages) > 0 {
		prefetchRun(unsafe.Pointer(o.at(o.home(k.ID))))
	}
}

// ExpectChanges is Expect for the key of the first of changes that are about to be applied.
func (t *Table) ExpectChanges(p PartitionID, changes []byte) {
	if id, ok := firstIdentity(changes); ok {
		t.Expect(Key{p, id})
	}
}

// firstIdentity returns the identity that the first of changes is about, if it is about one.
func firstIdentity(b []byte) (id Identity, ok bool) {
	if len(b) == 0 || b[0] != formatChanges {
		return Identity{}, false
	}
	b = b[1:]
	for range 2 { // the base and the largest limit
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return Identity{}, false
		}
		b = b[n:]
	}
	if len(b) == 0 || b[0] == changeLargest || b[0] == changeProlonged || b[0] == changeDoubt {
		return Identity{}, false
	}
	_, n := binary.Varint(b[1:])
	if n <= 0 || len(b) < 1+n+16 {
		return Identity{}, false
	}
	b = b[1+n:]
	return Identity{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}
