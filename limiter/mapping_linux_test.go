//go:build !race

package limiter

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// What is taken is aligned, zero, and nobody else's; released, it is the system's again.
func TestMapping(t *testing.T) {
	const size = 1 << 16
	var m mapping
	seen := make(map[uintptr]bool)
	for i := range 3*regionSlabs + 1 {
		p := m.take(size)
		if p == nil || uintptr(p)%size != 0 || seen[uintptr(p)] {
			t.Fatalf("slab %d is at %p", i, p)
		}
		seen[uintptr(p)] = true
		slab := unsafe.Slice((*byte)(p), size)
		for at, b := range slab {
			if b != 0 {
				t.Fatalf("slab %d, byte %d: %d", i, at, b)
			}
		}
		slab[0], slab[size-1] = 1, 1
	}
	regions := m.regions
	if len(regions) != 4 {
		t.Errorf("%d slabs took %d regions, want 4", len(seen), len(regions))
	}
	m.release()
	for i, r := range regions {
		if mapped(t, r) {
			t.Errorf("region %d is still mapped", i)
		}
	}
}

// A table that nobody has any more leaves no memory behind, though Go's heap had none of it.
func TestTablesMemoryGoesBack(t *testing.T) {
	region := func() []byte {
		table, err := NewTable(Config{Partitions: 1, MaxKeys: 10})
		if err != nil {
			t.Fatal(err)
		}
		table.Check(Key{ID: Identity{1, 1}}, mustTier(t, Window{1, time.Second}), 1, 0)
		return table.records.system.regions[0]
	}()
	for range 1000 { // cleanups run soon after a collection, in a goroutine of the runtime's
		runtime.GC()
		if !mapped(t, region) {
			return
		}
	}
	t.Error("a region is still mapped")
}

// mapped tells whether all of a region is memory of this process. A part may be, once it went
// back: the system gives it to whoever asks next.
func mapped(t *testing.T, region []byte) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	start := uintptr(unsafe.Pointer(&region[0]))
	end := start + uintptr(len(region))
	all := uintptr(0)
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		if _, err := fmt.Sscanf(string(line), "%x-%x", &from, &to); err == nil && from < end && to > start {
			all += min(to, end) - max(from, start)
		}
	}
	return all == uintptr(len(region))
}
