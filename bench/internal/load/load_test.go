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
		r := Loop{Workers: 3, For: 120 * time.Millisecond, Deadline: time.Second, Worker: func(i int) Call {
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
		if n := r.Took.TotalCount(); int(n) != r.Calls {
			t.Errorf("%d of %d calls are in the histogram", n, r.Calls)
		}
		for q, want := range map[float64]time.Duration{0: 5 * time.Millisecond, 0.6: 10 * time.Millisecond, 1: 30 * time.Millisecond} {
			if got := r.Quantile(q); got < want-want/500 || got > want+want/500 {
				t.Errorf("quantile %v is %v, want %v", q, got, want)
			}
		}
	})
}

// A call under way at the end is waited for and counted, as the processor time that it
// took is counted too.
func TestLoopCountsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Loop{Workers: 1, For: 10 * time.Millisecond, Deadline: time.Second, Worker: func(int) Call {
			return func(context.Context) error { time.Sleep(7 * time.Millisecond); return nil }
		}}.Run(t.Context())
		if r.Calls != 2 || r.Elapsed != 14*time.Millisecond {
			t.Errorf("%d calls in %v, want 2 in 14ms", r.Calls, r.Elapsed)
		}
	})
}

func TestLoopGivesDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Loop{Workers: 1, For: 90 * time.Millisecond, Deadline: 30 * time.Millisecond, Worker: func(int) Call {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}}.Run(t.Context())
		if r.Calls != 0 || r.Failed != 3 || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("%d calls, %d failed (%v), want 3 that ran into their deadline", r.Calls, r.Failed, r.Err)
		}
	})
}

// No call begins after the end of the context; those under way have their deadline.
func TestLoopEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := Loop{Workers: 4, For: time.Hour, Deadline: time.Second, Worker: func(int) Call {
			return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}}.Run(ctx)
		if r.Elapsed != time.Second || r.Failed != 4 {
			t.Errorf("it ran for %v and %d calls failed, want a second and the first 4", r.Elapsed, r.Failed)
		}
	})
}

// Calls are made when they are due, and what they took counts from then: one that found no worker
// free has waited.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun []time.Duration
		start := time.Now()
		r := Stream{Rate: 100, For: 95 * time.Millisecond, Deadline: time.Second, Workers: 1, Worker: func(int) Call {
			return func(context.Context) error {
				begun = append(begun, time.Since(start))
				if len(begun) == 2 {
					time.Sleep(35 * time.Millisecond)
				}
				return nil
			}
		}}.Run(t.Context())
		ms := time.Millisecond
		// Due at 0, 10, …, 90 ms. That of 10 ms takes 35, and those of 20, 30 and 40 begin at 45.
		want := []time.Duration{0, 10 * ms, 45 * ms, 45 * ms, 45 * ms, 50 * ms, 60 * ms, 70 * ms, 80 * ms, 90 * ms}
		if !slices.Equal(begun, want) {
			t.Errorf("calls began at %v, want %v", begun, want)
		}
		if r.Calls != 10 || r.Quantile(1) < 35*ms || r.Quantile(0.9) < 25*ms || r.Quantile(0.5) > ms {
			t.Errorf("%d calls, of which the longest took %v, a tenth %v, half %v", r.Calls, r.Quantile(1), r.Quantile(0.9), r.Quantile(0.5))
		}
	})
}

// With workers enough no call waits for another.
func TestStreamIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Stream{Rate: 1000, For: time.Second, Workers: 200, Worker: func(int) Call {
			return func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		}}.Run(t.Context())
		if took := r.Quantile(1); r.Calls != 1000 || took < 100*time.Millisecond || took > 101*time.Millisecond {
			t.Errorf("%d calls of up to %v, want 1000 of 100ms", r.Calls, took)
		}
		if r.Elapsed > 1100*time.Millisecond {
			t.Errorf("it took %v", r.Elapsed)
		}
	})
}
