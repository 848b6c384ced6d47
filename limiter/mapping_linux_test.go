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
	regions := len(m.regions)
	if regions != 4 {
		t.Errorf("%d slabs took %d regions, want 4", len(seen), regions)
	}
	m.release()
	for p := range seen {
		if mapped(t, p) {
			t.Errorf("%x is still mapped", p)
		}
	}
}

// A table that nobody has any more leaves no memory behind, though Go's heap had none of it.
func TestTablesMemoryGoesBack(t *testing.T) {
	at := func() uintptr {
		table, err := NewTable(Config{Partitions: 1, MaxKeys: 10})
		if err != nil {
			t.Fatal(err)
		}
		table.Check(Key{ID: Identity{1, 1}}, mustTier(t, Window{1, time.Second}), 1, 0)
		return uintptr(unsafe.Pointer(table.records.at(0)))
	}()
	for range 1000 { // cleanups run soon after a collection, in a goroutine of the runtime's
		runtime.GC()
		if !mapped(t, at) {
			return
		}
	}
	t.Errorf("%x is still mapped", at)
}

// mapped tells whether an address is one of this process.
func mapped(t *testing.T, p uintptr) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		if _, err := fmt.Sscanf(string(line), "%x-%x", &from, &to); err == nil && from <= p && p < to {
			return true
		}
	}
	return false
}
