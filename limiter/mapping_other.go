//go:build !linux

package limiter

import "unsafe"

// A mapping would be memory that does not come from Go's heap: there is none here.
type mapping struct{}

func (*mapping) take(uintptr) unsafe.Pointer { return nil }

func (*mapping) release() {}
