package admin

import (
	"math"
	"time"
)

// What goes into an answer is bounded by its field, not wrapped round.

func count(n int) uint32 { return uint32(min(max(0, n), math.MaxUint32)) }

// age returns how long ago something was, in milliseconds rounded down: what a window
// still counts never looks as old as the window is long.
func age(d time.Duration) uint32 { return uint32(min(ageLong(d), math.MaxUint32)) }

func ageLong(d time.Duration) uint64 { return uint64(max(0, d) / time.Millisecond) }

// wait returns how long something takes, in milliseconds rounded up.
func wait(d time.Duration) uint32 {
	d = max(0, d)
	ms := d / time.Millisecond
	if d%time.Millisecond > 0 {
		ms++
	}
	return uint32(min(ms, math.MaxUint32))
}
