package limiter

import (
	"syscall"
	"unsafe"
)

// adviseHugePages asks the kernel for huge pages. It is advice: if it is not taken,
// look-ups are slower and nothing else changes.
func adviseHugePages(p unsafe.Pointer, size uintptr) {
	pageSize := uintptr(syscall.Getpagesize())
	from := (uintptr(p) + pageSize - 1) &^ (pageSize - 1)
	to := (uintptr(p) + size) &^ (pageSize - 1)
	if to > from {
		_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Add(p, from-uintptr(p))), to-from), syscall.MADV_HUGEPAGE)
	}
}
