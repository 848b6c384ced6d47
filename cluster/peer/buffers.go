package peer

import (
	"math/bits"
	"sync"

	"github.com/overten/sluice/cluster/ownership"
)

// buffers are memory for messages of letters. Unlike gRPC's it is not cleared before it is used
// again: whoever gets a buffer overwrites all of it that he then reads.
type buffers struct{ pool sync.Pool }

// Sizes of buffers: those kept, and the smallest made.
const (
	leastBuffer = 4 << 10
	mostBuffer  = 1 << 20
)

var letterBuffers buffers

// Get returns a buffer of the given length.
func (b *buffers) Get(length int) *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok && cap(*buf) >= length {
		*buf = (*buf)[:length]
		return buf
	}
	size := max(leastBuffer, 1<<bits.Len(uint(max(length, 1)-1)))
	buf := make([]byte, length, size)
	return &buf
}

// Put takes a buffer back.
func (b *buffers) Put(buf *[]byte) {
	if cap(*buf) <= mostBuffer {
		b.pool.Put(buf)
	}
}

// Frames and copyings that were sent: under load, and at rest, they are most of what a node would
// allocate.
var (
	spentFrames   = sync.Pool{New: func() any { return new(ownership.Frame) }}
	spentCopyings = sync.Pool{New: func() any { return new(ownership.Copying) }}
)

// mostSpent bounds the items of each list of a letter that is kept.
const mostSpent = 4096

// EmptyFrame returns an empty frame, with the memory of one that was sent.
func EmptyFrame() *ownership.Frame { return spentFrames.Get().(*ownership.Frame) }

// EmptyCopying returns an empty copying, with the memory of one that was sent.
func EmptyCopying() *ownership.Copying { return spentCopyings.Get().(*ownership.Copying) }

// releaseFrame takes a frame that was encoded, which is nobody's from then on.
func releaseFrame(f *ownership.Frame) {
	if cap(f.Asks) <= mostSpent && cap(f.Pledges) <= mostSpent {
		f.Reset()
		spentFrames.Put(f)
	}
}

// releaseCopying takes a copying that was encoded, which is nobody's from then on.
func releaseCopying(c *ownership.Copying) {
	if len(c.Snapshots) == 0 && cap(c.Deltas) <= mostSpent && cap(c.Acks) <= mostSpent {
		c.Reset()
		spentCopyings.Put(c)
	}
}
