package limiter

import "time"

// An Instant is a reading of the deciding node's monotonic clock, in
// nanoseconds since an origin that the node chose. It is never negative.
//
// Instants of two nodes cannot be compared: whoever reads another's state says what to add.
type Instant int64

// Add returns the instant d later.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns how much later t is than u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// floorMillis returns the whole milliseconds that have passed at t.
func (t Instant) floorMillis() int64 { return int64(t) / int64(time.Millisecond) }

// ceilMillis returns the first whole millisecond that is not before t.
func (t Instant) ceilMillis() int64 {
	return (int64(t) + int64(time.Millisecond) - 1) / int64(time.Millisecond)
}

// millis returns the instant at which ms whole milliseconds have passed.
func millis(ms int64) Instant { return Instant(ms * int64(time.Millisecond)) }

// A Cost is the number of units that one request takes. 0 is a peek: decide
// and report, count nothing.
type Cost uint32

// MaxCost is the largest cost that a request may ask for. It equals the largest
// limit, so that every cost above it could never pass.
const MaxCost Cost = MaxLimit
