package limiter

import (
	"time"
	"unsafe"
)

// bytesAsString lets benchmarks hash a key that they rewrite in place.
func bytesAsString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// released releases a lease in a table that is permitted for ever.
func released(t *Table, ref LeaseRef, now Instant) bool {
	ok, err := t.Release(ref, now)
	if err != nil {
		panic(err)
	}
	return ok
}

// Apply is ApplyFrom that skips none.
func (t *Table) Apply(p PartitionID, changes []byte, shift time.Duration, now Instant) error {
	return t.ApplyFrom(p, changes, 0, 0, shift, now)
}

// KeysOf returns how many keys p holds, as Keys does for all partitions.
func (t *Table) KeysOf(p PartitionID) int {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	return int(part.records.n)
}
