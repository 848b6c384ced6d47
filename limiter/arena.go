package limiter

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// An arena gives out memory for records or chunks by the page. It takes it from the
// system in large slabs without pointers: nothing is copied as a table grows, the garbage
// collector neither scans nor counts it, and huge pages back all but the first. Pages that
// come back are given out again, to any partition.
//
// A line is known by its number, from which its address follows without another
// look-up: the table of slabs is small enough to stay in the nearest cache.
//
// Slabs go back to the system when nobody refers to their arena any more. So who has a
// line must have the arena too, as every partition does.
type arena[T any] struct {
	// slabs is replaced by a longer one when the arena grows, and never changed.
	slabs  atomic.Pointer[[]unsafe.Pointer]
	page   uint32 // lines in a page: a power of two
	system *mapping

	mu   sync.Mutex // guards all below
	next uint32     // the first page that was never given out
	free []uint32   // pages that came back
}

type slab[T any] [slabLines]T

// slabLines is the number of lines in a slab: 2 MiB of 64 bytes each, a huge page of most
// processors. Numbers of lines reach to 256 GiB.
const slabLines = 1 << 15

func newArena[T any](page uint32) *arena[T] {
	a := &arena[T]{page: page, system: new(mapping)}
	runtime.AddCleanup(a, (*mapping).release, a.system)
	return a
}

// at returns line ref. To index a *slab would have it checked for nil by a look at its first line: those
// of all slabs are rivals for the same few places in each cache, so that it is a second wait for memory.
func (a *arena[T]) at(ref uint32) *T {
	start := (*a.slabs.Load())[ref/slabLines]
	return (*T)(unsafe.Add(start, uintptr(ref%slabLines)*unsafe.Sizeof(*(*T)(nil))))
}

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
	var slabs []unsafe.Pointer
	if old := a.slabs.Load(); old != nil {
		slabs = *old
	}
	more := a.system.take(unsafe.Sizeof(slab[T]{}))
	if more == nil {
		more = unsafe.Pointer(new(slab[T]))
	}
	slabs = append(slabs[:len(slabs):len(slabs)], more)
	a.slabs.Store(&slabs)
}

// give takes back the page that begins with line first. Nobody may use it any more.
func (a *arena[T]) give(first uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, first/a.page)
}
