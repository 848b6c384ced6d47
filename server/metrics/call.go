package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// A Method is a call that a gateway may make.
type Method uint8

// The methods. Of a CheckStream each batch is a call.
const (
	Check Method = iota
	CheckBatch
	CheckStream
	Acquire
	Renew
	Release
	methods
)

var methodNames = [methods]string{"Check", "CheckBatch", "CheckStream", "Acquire", "Renew", "Release"}

func (m Method) String() string { return methodNames[m] }

// codeCount is how many codes gRPC has: OK and those of sixteen errors.
const codeCount = 17

// Durations are counted in buckets of which each is twice as wide as the one before: bucket i
// holds those of less than 2^i times shortest, the last all others.
const (
	shortest    = 1 << 10 // nanoseconds: about a microsecond
	bucketCount = 25      // the last but one ends at 2^33 ns, nearly nine seconds
)

// callCounts are the counts of calls in one stripe.
type callCounts [methods]struct {
	codes   [codeCount]atomic.Uint64
	buckets [bucketCount]atomic.Uint64
	nanos   atomic.Uint64
}

// Called counts a call that took so long and ended with that code of gRPC.
func (m *Metrics) Called(s Stripe, method Method, code codes.Code, took time.Duration) {
	of := &m.calls[s%stripes][method]
	of.codes[min(code, codeCount-1)].Add(1)
	of.buckets[bucket(took)].Add(1)
	of.nanos.Add(uint64(max(took, 0)))
}

// bucket returns which bucket a duration is counted in.
func bucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d, 0))/shortest), bucketCount-1)
}

// bound returns where bucket i ends, in seconds.
func bound(i int) float64 { return float64(uint64(shortest)<<i) / float64(time.Second) }
