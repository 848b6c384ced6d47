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

// A worker is one goroutine's part of a load. It shares nothing with others from call to call, so
// that the load costs little beside what it measures: no lock, and no histogram of its own, which
// is larger than the processor's caches.
type worker struct {
	ctx      context.Context // that calls begin with
	deadline time.Duration
	call     Call

	calls, failed int
	err           error
	took          []int64 // nanoseconds, not yet in the sum
	sum           *sum
}

// A sum is what all workers add to now and then.
type sum struct {
	mu sync.Mutex
	Result
}

// addEvery is how many calls a worker makes before it adds them: few enough that what a thousand
// workers have not added yet stays in the processor's caches.
const addEvery = 128

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
	return run(ctx, l.Workers, l.Deadline, l.Worker, func(w *worker, start time.Time) {
		for from, end := time.Now(), start.Add(l.For); from.Before(end) && ctx.Err() == nil; {
			from = w.make(from, from)
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
	return run(ctx, s.Workers, s.Deadline, s.Worker, func(w *worker, start time.Time) {
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
			w.make(due, time.Now())
		}
	})
}

// run lets workers work, and puts together what came of each.
func run(ctx context.Context, workers int, deadline time.Duration, call func(i int) Call, work func(w *worker, start time.Time)) Result {
	total := &sum{Result: Result{Took: newHistogram()}}
	start := time.Now()
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			w := &worker{ctx: lasting(ctx, deadline), deadline: deadline, call: call(i), sum: total}
			work(w, start)
			w.add()
		})
	}
	all.Wait()
	total.Elapsed = time.Since(start)
	return total.Result
}

// lasting is what calls with a deadline have for a parent: one that they need not be registered
// with, as all that have a common parent wait for its lock.
func lasting(ctx context.Context, deadline time.Duration) context.Context {
	if deadline > 0 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// make makes a call now that was due before, and returns when it had ended.
func (w *worker) make(due, now time.Time) time.Time {
	ctx, cancel := w.ctx, context.CancelFunc(func() {})
	if w.deadline > 0 {
		ctx, cancel = context.WithDeadline(ctx, now.Add(w.deadline))
	}
	err := w.call(ctx)
	cancel()
	ended := time.Now()
	if err != nil {
		w.failed++
		w.err = err
		return ended
	}
	w.calls++
	if w.took = append(w.took, int64(ended.Sub(due))); len(w.took) == addEvery {
		w.add()
	}
	return ended
}

// add adds what the worker has done since the last time.
func (w *worker) add() {
	w.sum.mu.Lock()
	defer w.sum.mu.Unlock()
	w.sum.Calls, w.sum.Failed = w.sum.Calls+w.calls, w.sum.Failed+w.failed
	if w.sum.Err == nil {
		w.sum.Err = w.err
	}
	for _, took := range w.took {
		_ = w.sum.Took.RecordValue(min(took, w.sum.Took.HighestTrackableValue())) // within its bounds
	}
	w.calls, w.failed, w.took = 0, 0, w.took[:0]
}
