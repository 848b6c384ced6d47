package load

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Worker 0 needs 10 ms a call and worker 1 30 ms; every fourth call of worker 2 fails.
		broken := errors.New("broken")
		r := Loop{Workers: 3, For: 120 * time.Millisecond, Deadline: time.Second, Worker: func(i int) func(context.Context) error {
			calls := 0
			return func(context.Context) error {
				time.Sleep([]time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 5 * time.Millisecond}[i])
				if calls++; i == 2 && calls%4 == 0 {
					return broken
				}
				return nil
			}
		}}.Run(t.Context())
		if r.Calls != 12+4+18 || r.Failed != 6 || !errors.Is(r.Err, broken) {
			t.Errorf("%d calls and %d failed (%v), want 34 and 6 (broken)", r.Calls, r.Failed, r.Err)
		}
		if r.Elapsed != 120*time.Millisecond {
			t.Errorf("it took %v, want 120ms", r.Elapsed)
		}
		if len(r.Latencies) != r.Calls || !slices.IsSorted(r.Latencies) ||
			r.Latencies[0] != 5*time.Millisecond || r.Latencies[r.Calls-1] != 30*time.Millisecond {
			t.Errorf("latencies %v, want those of 34 calls, sorted", r.Latencies)
		}
	})
}

// A call under way at the end is waited for and counted, as the processor time that it
// took is counted too.
func TestLoopCountsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Loop{Workers: 1, For: 10 * time.Millisecond, Deadline: time.Second, Worker: func(int) func(context.Context) error {
			return func(context.Context) error { time.Sleep(7 * time.Millisecond); return nil }
		}}.Run(t.Context())
		if r.Calls != 2 || r.Elapsed != 14*time.Millisecond {
			t.Errorf("%d calls in %v, want 2 in 14ms", r.Calls, r.Elapsed)
		}
	})
}

func TestLoopGivesDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Loop{Workers: 1, For: 90 * time.Millisecond, Deadline: 30 * time.Millisecond, Worker: func(int) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}}.Run(t.Context())
		if r.Calls != 0 || r.Failed != 3 || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("%d calls, %d failed (%v), want 3 that ran into their deadline", r.Calls, r.Failed, r.Err)
		}
	})
}

func TestLoopEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := Loop{Workers: 4, For: time.Hour, Deadline: time.Second, Worker: func(int) func(context.Context) error {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}}.Run(ctx)
		if r.Elapsed != 50*time.Millisecond {
			t.Errorf("it ran for %v, want to the end of its context after 50ms", r.Elapsed)
		}
	})
}
