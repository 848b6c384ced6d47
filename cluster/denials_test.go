package cluster

import (
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// What is remembered of a denial counts from when the holder was asked: an answer that was long
// on its way once denied a key that had its room again.
func TestDenialsCountFromTheAsking(t *testing.T) {
	var d denials
	k := denialKey{key: limiter.Key{Partition: 3}, tier: "t", cost: 1}
	asked := limiter.Instant(time.Hour)
	denied := limiter.Decision{Reason: limiter.ReasonRateLimited, Exactness: limiter.Exact, RetryAfter: 400 * time.Millisecond, Reset: 400 * time.Millisecond}
	d.note(k, denied, asked)
	for after, left := range map[time.Duration]time.Duration{0: 400 * time.Millisecond, 100 * time.Millisecond: 300 * time.Millisecond} {
		if got, ok := d.find(k, asked.Add(after)); !ok || got.RetryAfter != left || got.Reset != left {
			t.Errorf("%v after it was asked: %+v, %v", after, got, ok)
		}
	}
	if got, ok := d.find(k, asked.Add(400*time.Millisecond)); ok {
		t.Errorf("denied when it would pass: %+v", got)
	}
	denied.RetryAfter = time.Minute
	d.note(k, denied, asked)
	if _, ok := d.find(k, asked.Add(denialMost)); ok {
		t.Error("a denial is remembered for more than a second")
	}
}
