//go:build amd64 || arm64

package limiter

import "unsafe"

// prefetch asks for the line of memory that p is in, to write to it, and does not wait for it.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchRun asks for that line and the three behind it, in which a record most likely is: by
// trial, as at a million keys a decision takes longer with fewer. They need not exist.
//
//go:noescape
func prefetchRun(p unsafe.Pointer)
