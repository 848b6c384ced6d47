package limiter

import (
	"sync"
	"unsafe"
)

// An arena gives out memory for records or chunks by the page. It takes it from the
// runtime in large slabs without pointers: nothing is copied as a table grows,
// nothing of it is scanned by the garbage collector, and the system can back it with
// huge pages, which spares every look-up a walk of the page table. Pages that come back
// are given out again, to any partition.
type arena[T any] struct {
	mu   sync.Mutex // guards all below
	slab []T        // what was not given out yet
	free []*page[T]
}

// A page is what a partition takes at a time: 2 KiB of lines of 64 bytes.
type page[T any] [pageLines]T

const (
	pageLines = 32
	slabLines = 1 << 16 // 4 MiB
)

// take returns a page with undefined content.
func (a *arena[T]) take() *page[T] {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.free); n > 0 {
		p := a.free[n-1]
		a.free = a.free[:n-1]
		return p
	}
	if len(a.slab) == 0 {
		a.slab = make([]T, slabLines)
		adviseHugePages(unsafe.Pointer(&a.slab[0]), slabLines*unsafe.Sizeof(a.slab[0]))
	}
	p := (*page[T])(a.slab)
	a.slab = a.slab[pageLines:]
	return p
}

// give takes a page back. Nobody may use it any more.
func (a *arena[T]) give(p *page[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, p)
}
