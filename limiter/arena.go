package limiter

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// An arena gives out memory for records or chunks by the page. It takes it from the
// runtime in large slabs without pointers: nothing is copied as a table grows,
// nothing of it is scanned by the garbage collector, and the system can back it with
// huge pages. Pages that come back are given out again, to any partition.
//
// A line is known by its number, from which its address follows without another
// look-up: the table of slabs is small enough to stay in the nearest cache.
type arena[T any] struct {
	// slabs is replaced by a longer one when the arena grows, and never changed.
	slabs atomic.Pointer[[]*[slabLines]T]
	page  uint32 // lines in a page: a power of two

	mu   sync.Mutex // guards all below
	next uint32     // the first page that was never given out
	free []uint32   // pages that came back
}

// slabLines is the number of lines in a slab: 1 MiB of 64 bytes each. Numbers of lines
// reach to 256 GiB.
const slabLines = 1 << 14

// at returns line ref.
func (a *arena[T]) at(ref uint32) *T { return &(*a.slabs.Load())[ref/slabLines][ref%slabLines] }

// take returns the first line of a page with undefined content.
func (a *arena[T]) take() uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.free); n > 0 {
		page := a.free[n-1]
		a.free = a.free[:n-1]
		return page * a.page
	}
	first := a.next * a.page
	if first%slabLines == 0 {
		a.grow()
	}
	a.next++
	return first
}

// grow adds a slab.
func (a *arena[T]) grow() {
	slab := new([slabLines]T)
	adviseHugePages(unsafe.Pointer(slab), unsafe.Sizeof(*slab))
	var slabs []*[slabLines]T
	if old := a.slabs.Load(); old != nil {
		slabs = *old
	}
	slabs = append(slabs[:len(slabs):len(slabs)], slab)
	a.slabs.Store(&slabs)
}

// give takes back the page that begins with line first. Nobody may use it any more.
func (a *arena[T]) give(first uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, first/a.page)
}
