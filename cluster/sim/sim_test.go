package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 2000, "how many seeds TestSeeds runs")
	first = flag.Uint64("first", 1, "the first of them")
	lines = flag.Int("trace", 200, "lines of trace that a failure shows")
)

// TestSeeds runs clusters through every kind of trouble.
func TestSeeds(t *testing.T) {
	var next, done, failed atomic.Uint64
	var answered, denied, undecided atomic.Int64
	next.Store(*first - 1)
	var mu sync.Mutex
	began := time.Now()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				seed := next.Add(1)
				if seed >= *first+*seeds || failed.Load() > 5 {
					return
				}
				r := Run(seed, 0)
				answered.Add(int64(r.Answered))
				denied.Add(int64(r.Denied))
				undecided.Add(int64(r.Undecided))
				if r.Err != nil {
					failed.Add(1)
					mu.Lock()
					t.Errorf("%v\n%s\nagain: go test ./cluster/sim -run TestSeeds -first %d -seeds 1", r, Run(seed, *lines).Trace, seed)
					mu.Unlock()
				}
				if n := done.Add(1); n%5000 == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d seeds, %v\n", n, *seeds, time.Since(began).Round(time.Second))
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds, %d hits admitted, %d denied, %d waits, %v", done.Load(), answered.Load(), denied.Load(), undecided.Load(), time.Since(began).Round(time.Millisecond))
}
