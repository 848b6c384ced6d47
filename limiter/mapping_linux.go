//go:build !race

package limiter

import (
	"syscall"
	"unsafe"
)

// A mapping is memory that comes from the system and not from Go's heap.
type mapping struct {
	regions [][]byte
	rest    []byte // of the last region, behind what was taken
}

// regionSlabs is how many slabs are asked for at a time. What is not used of them is addresses
// and no memory.
const regionSlabs = 16

// take returns size bytes, a power of two, at a multiple of size. They are zero. It asks for
// huge pages, except for the first: a small table shall not take more than it needs. That is
// advice: if it is not taken, look-ups are slower and nothing else changes. nil: the system
// gives nothing.
func (m *mapping) take(size uintptr) unsafe.Pointer {
	if len(m.rest) == 0 {
		region, err := syscall.Mmap(-1, 0, int((regionSlabs+1)*size), syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
		if err != nil {
			return nil
		}
		m.regions = append(m.regions, region)
		start := -uintptr(unsafe.Pointer(&region[0])) & (size - 1)
		m.rest = region[start:][:regionSlabs*size]
		advised := m.rest
		if len(m.regions) == 1 {
			advised = advised[size:]
		}
		_ = syscall.Madvise(advised, syscall.MADV_HUGEPAGE)
	}
	p := unsafe.Pointer(&m.rest[0])
	m.rest = m.rest[size:]
	return p
}

// release gives all of it back. Nobody may use any of it any more.
func (m *mapping) release() {
	for _, region := range m.regions {
		_ = syscall.Munmap(region) // fails for what is no mapping, which it is
	}
	m.regions, m.rest = nil, nil
}
