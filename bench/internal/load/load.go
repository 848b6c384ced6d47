// Package load makes closed-loop load: a fixed number of workers, each of which calls,
// waits for the answer, and calls again. Load thus adapts to what is measured, whose
// queues stay short; it says what a call costs, and not how long calls wait when more
// arrive than can be answered.
package load

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Loop is a load to be made.
type Loop struct {
	Workers  int
	For      time.Duration // no call begins later
	Deadline time.Duration // of each call
	// Worker returns what worker i (from 0) does for one call. It is called by one
	// goroutine at a time, so that it may keep what it needs from call to call.
	Worker func(i int) func(context.Context) error
}

// A Result is what came of a Loop.
type Result struct {
	Calls     int             // that succeeded
	Failed    int             // that did not
	Err       error           // why: one of them
	Elapsed   time.Duration   // until the last call had ended
	Latencies []time.Duration // of the calls that succeeded, sorted
}

// Run makes the load. It ends early when ctx does.
func (l Loop) Run(ctx context.Context) Result {
	each := make([]Result, l.Workers)
	start := time.Now()
	var workers sync.WaitGroup
	for i := range each {
		workers.Go(func() { each[i] = l.work(ctx, l.Worker(i), start.Add(l.For)) })
	}
	workers.Wait()
	all := Result{Elapsed: time.Since(start)}
	for _, r := range each {
		all.Calls += r.Calls
		all.Failed += r.Failed
		if all.Err == nil {
			all.Err = r.Err
		}
		all.Latencies = append(all.Latencies, r.Latencies...)
	}
	slices.Sort(all.Latencies)
	return all
}

// work is one worker: it calls until the end.
func (l Loop) work(ctx context.Context, call func(context.Context) error, end time.Time) Result {
	var r Result
	for from := time.Now(); from.Before(end) && ctx.Err() == nil; {
		callCtx, cancel := context.WithDeadline(ctx, from.Add(l.Deadline))
		err := call(callCtx)
		cancel()
		to := time.Now()
		if err == nil {
			r.Calls++
			r.Latencies = append(r.Latencies, to.Sub(from))
		} else {
			r.Failed++
			r.Err = err
		}
		from = to
	}
	return r
}
