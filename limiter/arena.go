package limiter

import (
	"sync"
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
	slabs [maxSlabs]*[slabLines]T // each is written once, before a page of it is given out
	page  uint32                  // lines in a page: a power of two

	mu   sync.Mutex // guards all below
	next uint32     // the first page that was never given out
	free []uint32   // pages that came back
}

const (
	slabLines = 1 << 14 // of 64 bytes: 1 MiB
	maxSlabs  = 1 << 14 // 16 GiB
)

// at returns line ref.
func (a *arena[T]) at(ref uint32) *T { return &a.slabs[ref/slabLines][ref%slabLines] }

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
		slab := new([slabLines]T)
		adviseHugePages(unsafe.Pointer(slab), unsafe.Sizeof(*slab))
		a.slabs[first/slabLines] = slab
	}
	a.next++
	return first
}

// give takes back the page that begins with line first. Nobody may use it any more.
func (a *arena[T]) give(first uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, first/a.page)
}
