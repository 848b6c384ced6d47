package limiter

import (
	"math/bits"
	"sync/atomic"
)

// marks are the partitions that recorded a change since they were last asked for. Setting
// one takes no lock, and a single load if it is set: whatever locks memory waits for all that
// was asked for before.
type marks struct {
	words []atomic.Uint64
	any   atomic.Bool // one was set since
	wake  func()
}

// set marks p, and wakes whoever waits if it is the first.
func (m *marks) set(p PartitionID) {
	word, bit := &m.words[p/64], uint64(1)<<(p%64)
	if word.Load()&bit != 0 {
		return
	}
	word.Or(bit)
	if !m.any.Load() && !m.any.Swap(true) && m.wake != nil {
		m.wake()
	}
}

// Dirty appends the partitions that were marked since the last call, in ascending order: nothing
// else has something to take, and of these what is left by who took some meanwhile. It clears
// their marks, and nothing else: the next change sets one again.
func (t *Table) Dirty(dst []PartitionID) []PartitionID {
	t.marks.any.Store(false) // before the marks are read: one that is set later wakes again
	for i := range t.marks.words {
		for word := t.marks.words[i].Swap(0); word != 0; word &= word - 1 {
			dst = append(dst, PartitionID(i*64+bits.TrailingZeros64(word)))
		}
	}
	return dst
}
