package limiter

import (
	"testing"
	"unsafe"
)

// A record is one cache line, and so is what a search reads of a partition; partitions
// share none.
func TestSizesFitCacheLines(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 64 {
		t.Errorf("a record has %d bytes", n)
	}
	if n := unsafe.Sizeof(chunk{}); n != 64 {
		t.Errorf("a chunk has %d bytes", n)
	}
	var (
		p partition
		s state
	)
	if n := unsafe.Sizeof(p); n%64 != 0 {
		t.Errorf("a partition has %d bytes", n)
	}
	if n := unsafe.Offsetof(p.state) + unsafe.Offsetof(s.largest) + unsafe.Sizeof(s.largest); n > 64 {
		t.Errorf("most decisions read %d bytes of a partition", n)
	}
}
