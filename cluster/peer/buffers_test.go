package peer

import "testing"

// A buffer has the length that was asked for, whatever was given back before.
func TestBuffersHaveTheirLength(t *testing.T) {
	var b buffers
	for _, length := range []int{0, 1, 100, leastBuffer, leastBuffer + 1, 70_000, 300, mostBuffer, mostBuffer + 1, 2 * mostBuffer, 5} {
		buf := b.Get(length)
		if len(*buf) != length || cap(*buf) < leastBuffer {
			t.Fatalf("a buffer for %d bytes has %d, with room for %d", length, len(*buf), cap(*buf))
		}
		b.Put(buf)
		if kept, ok := b.pool.Get().(*[]byte); ok {
			if cap(*kept) > mostBuffer {
				t.Errorf("a buffer of %d bytes was kept", cap(*kept))
			}
			b.pool.Put(kept)
		}
	}
}
