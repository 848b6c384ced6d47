//go:build !linux

package limiter

import "unsafe"

func adviseHugePages(unsafe.Pointer, uintptr) {}
