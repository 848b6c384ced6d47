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
	d.note(k, denied, asked, asked)
	for after, left := range map[time.Duration]time.Duration{0: 400 * time.Millisecond, 100 * time.Millisecond: 300 * time.Millisecond} {
		if got, ok := d.find(k, asked.Add(after)); !ok || got.RetryAfter != left || got.Reset != left {
			t.Errorf("%v after it was asked: %+v, %v", after, got, ok)
		}
	}
	if got, ok := d.find(k, asked.Add(400*time.Millisecond)); ok {
		t.Errorf("denied when it would pass: %+v", got)
	}
	denied.RetryAfter = time.Minute
	d.note(k, denied, asked, asked)
	if _, ok := d.find(k, asked.Add(denialMost)); ok {
		t.Error("a denial is remembered for more than a second")
	}
}

// The holder may have decided just before its answer came: a call waited 0.2 s at a holder without
// a permit, and who was told of its denial again came 0.2 s too early.
func TestWaitsOfDenialsCountFromTheAnswer(t *testing.T) {
	var d denials
	k := denialKey{key: limiter.Key{Partition: 3}, tier: "t", cost: 1}
	asked := limiter.Instant(time.Hour)
	denied := limiter.Decision{Reason: limiter.ReasonRateLimited, Exactness: limiter.Exact, RetryAfter: time.Second, Reset: time.Second}
	d.note(k, denied, asked, asked.Add(300*time.Millisecond))
	for after, left := range map[time.Duration]time.Duration{
		299 * time.Millisecond: time.Second, 400 * time.Millisecond: 900 * time.Millisecond, 999*time.Millisecond + 1: 301 * time.Millisecond,
	} {
		if got, ok := d.find(k, asked.Add(after)); !ok || got.RetryAfter != left || got.Reset != left {
			t.Errorf("%v after it was asked: %+v, %v; want a wait of %v", after, got, ok, left)
		}
	}
	if got, ok := d.find(k, asked.Add(time.Second)); ok {
		t.Errorf("denied when it may pass: %+v", got)
	}
}
