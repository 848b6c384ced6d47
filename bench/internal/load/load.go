// Package load makes load, and tells how long calls took.
//
// A closed loop ([Loop]) has a fixed number of workers, each of which calls, waits for the
// answer, and calls again. Load thus adapts to what is measured, whose queues stay short; it
// says what a call costs, and not how long calls wait when more arrive than can be answered.
//
// An open loop ([Stream]) has calls that are due at fixed times, whether those before are
// answered or not, as callers who know nothing of each other make them. What a call took counts
// from when it was due: one that waits because those before it are slow counts with its wait, so
// that slow answers do not hide themselves (no coordinated omission).
package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Call makes one call. It is called by one goroutine at a time, so that it may keep what it
// needs from call to call.
type Call func(context.Context) error

// A Result is what came of a load.
type Result struct {
	Calls   int           // that succeeded
	Failed  int           // that did not
	Err     error         // why: one of them
	Elapsed time.Duration // until the last call had ended
	Took    *hdrhistogram.Histogram
}

// Took holds from a microsecond to a minute, in nanoseconds, to one part in a thousand.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1_000, int64(time.Minute), 3)
}

// Quantile returns what the share q, from 0 to 1, of all calls that succeeded took at most.
func (r Result) Quantile(q float64) time.Duration {
	return time.Duration(r.Took.ValueAtQuantile(100 * q))
}

// A Loop is a closed loop.
type Loop struct {
	Workers  int
	For      time.Duration    // no call begins later
	Deadline time.Duration    // of each call; 0: it has none
	Worker   func(i int) Call // what worker i (from 0) does
}

// Run makes the load. It ends early when ctx does.
func (l Loop) Run(ctx context.Context) Result {
	return run(l.Workers, func(i int, start time.Time, r *Result) {
		call := l.Worker(i)
		for from, end := time.Now(), start.Add(l.For); from.Before(end) && ctx.Err() == nil; {
			from = r.make(ctx, call, from, from, l.Deadline)
		}
	})
}

// A Stream is an open loop.
type Stream struct {
	Rate     float64       // calls a second
	For      time.Duration // no call is due later
	Deadline time.Duration // of each call, from when it begins; 0: it has none
	Workers  int           // calls under way at a time; those that are due meanwhile wait, and count so
	Worker   func(i int) Call
}

// Run makes the load. It ends early when ctx does.
func (s Stream) Run(ctx context.Context) Result {
	var next atomic.Int64
	return run(s.Workers, func(i int, start time.Time, r *Result) {
		call := s.Worker(i)
		wait := time.NewTimer(0)
		defer wait.Stop()
		for ctx.Err() == nil {
			after := time.Duration(float64(next.Add(1)-1) / s.Rate * float64(time.Second))
			if after >= s.For {
				return
			}
			due := start.Add(after)
			if left := time.Until(due); left > 0 {
				wait.Reset(left)
				select {
				case <-wait.C:
				case <-ctx.Done():
					return
				}
			}
			r.make(ctx, call, due, time.Now(), s.Deadline)
		}
	})
}

// run lets workers work, and puts together what came of each.
func run(workers int, work func(i int, start time.Time, r *Result)) Result {
	each := make([]Result, workers)
	start := time.Now()
	var all sync.WaitGroup
	for i := range each {
		each[i].Took = newHistogram()
		all.Go(func() { work(i, start, &each[i]) })
	}
	all.Wait()
	sum := Result{Elapsed: time.Since(start), Took: newHistogram()}
	for _, r := range each {
		sum.Calls += r.Calls
		sum.Failed += r.Failed
		if sum.Err == nil {
			sum.Err = r.Err
		}
		sum.Took.Merge(r.Took)
	}
	return sum
}

// make makes a call now that was due before, and returns when it had ended.
func (r *Result) make(ctx context.Context, call Call, due, now time.Time, deadline time.Duration) time.Time {
	callCtx, cancel := ctx, context.CancelFunc(func() {})
	if deadline > 0 {
		callCtx, cancel = context.WithDeadline(ctx, now.Add(deadline))
	}
	err := call(callCtx)
	cancel()
	ended := time.Now()
	if err != nil {
		r.Failed++
		r.Err = err
		return ended
	}
	r.Calls++
	_ = r.Took.RecordValue(min(int64(ended.Sub(due)), r.Took.HighestTrackableValue())) // within its bounds
	return ended
}
