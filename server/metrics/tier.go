package metrics

import (
	"sync/atomic"

	"github.com/overten/sluice/limiter"
)

// How many reasons and degrees of exactness there are at most: powers of two, so that no
// value, from whatever node it came, is out of range.
const (
	reasons = 8
	degrees = 4
)

// outcomes are counters by reason and exactness.
type outcomes [reasons][degrees]atomic.Uint64

// A Tier has the counts of the decisions of one tier.
type Tier struct {
	each [stripes]struct {
		checks, acquisitions outcomes
		shadowed             [shadowedCalls][reasons]atomic.Uint64
	}
}

// A ShadowedCall is what a shadow tier would have denied.
type ShadowedCall uint8

// The calls that decide.
const (
	ShadowedCheck ShadowedCall = iota
	ShadowedAcquisition
	shadowedCalls
)

var shadowedNames = [shadowedCalls]string{"check", "acquire"}

// Shadowed returns the counter of calls that would have been denied for that reason, if the tier
// were no shadow.
func (t *Tier) Shadowed(s Stripe, call ShadowedCall, denied limiter.Reason) *atomic.Uint64 {
	return &t.each[s%stripes].shadowed[call][denied%reasons]
}

// Checks returns the counter of checks that were decided so.
func (t *Tier) Checks(s Stripe, d *limiter.Decision) *atomic.Uint64 {
	return &t.each[s%stripes].checks[d.Reason%reasons][d.Exactness%degrees]
}

// Acquisitions returns the counter of acquisitions that were decided so.
func (t *Tier) Acquisitions(s Stripe, reason limiter.Reason, exactness limiter.Exactness) *atomic.Uint64 {
	return &t.each[s%stripes].acquisitions[reason%reasons][exactness%degrees]
}

// Denials returns how many checks and acquisitions were counted as denied for that reason.
func (t *Tier) Denials(why limiter.Reason) (n uint64) {
	for e := range limiter.Exactness(degrees) {
		d := &limiter.Decision{Reason: why, Exactness: e}
		n += add(func(s Stripe) *atomic.Uint64 { return t.Checks(s, d) })
		n += add(func(s Stripe) *atomic.Uint64 { return t.Acquisitions(s, why, e) })
	}
	return n
}

// A Tally counts what belongs to one call. Of many decisions those that follow each other
// are often counted alike, and are then added at once. The zero Tally is ready, and must be
// flushed at the end.
type Tally struct {
	counter *atomic.Uint64
	n       uint64 // not yet added to counter
}

// Add counts one.
func (t *Tally) Add(counter *atomic.Uint64) {
	if counter != t.counter {
		t.Flush()
		t.counter = counter
	}
	t.n++
}

// Flush adds what is not yet added.
func (t *Tally) Flush() {
	if t.n > 0 {
		t.counter.Add(t.n)
		t.n = 0
	}
}
