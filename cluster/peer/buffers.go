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

var spent = sync.Pool{New: func() any { return new(ownership.Copying) }}

// EmptyCopying returns an empty copying, with the memory of one that was sent: under load that is
// most of what a node would allocate.
func EmptyCopying() *ownership.Copying { return spent.Get().(*ownership.Copying) }

// release takes a copying that was encoded, which is nobody's from then on.
func release(c *ownership.Copying) {
	const most = 4096
	if len(c.Snapshots) == 0 && cap(c.Deltas) <= most && cap(c.Acks) <= most {
		c.Reset()
		spent.Put(c)
	}
}
