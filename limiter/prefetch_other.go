//go:build !amd64 && !arm64

package limiter

import "unsafe"

// prefetch does nothing where this program does not know how.
func prefetch(unsafe.Pointer) {}

// prefetchRun does nothing where this program does not know how.
func prefetchRun(unsafe.Pointer) {}
