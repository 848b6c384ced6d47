package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", seedsByDefault, "how many seeds TestSeeds runs")
	first = flag.Uint64("first", 1, "the first of them")
	lines = flag.Int("lines", 200, "lines of trace that a failure shows")
	force = flag.Bool("engine", false, "keep all state in the engine's tables; by itself every fourth seed of a kind does")
)

// TestSeeds runs clusters through every kind of trouble.
func TestSeeds(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1600))
	var next, done, failed atomic.Uint64
	var answered, denied, undecided, leases atomic.Int64
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
				r := Run(seed, Options{Engine: *force})
				answered.Add(int64(r.Answered))
				denied.Add(int64(r.Denied))
				undecided.Add(int64(r.Undecided))
				leases.Add(int64(r.Leases))
				if r.Err != nil {
					failed.Add(1)
					mu.Lock()
					t.Errorf("%v\n%s\nagain: go test ./cluster/sim -run TestSeeds -first %d -seeds 1 -engine=%v", r, Run(seed, Options{Lines: *lines, Engine: *force}).Trace, seed, *force)
					mu.Unlock()
				}
				if n := done.Add(1); n%5000 == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d seeds, %v\n", n, *seeds, time.Since(began).Round(time.Second))
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds, %d hits admitted, %d denied, %d waits, %d leases, %v", done.Load(), answered.Load(), denied.Load(), undecided.Load(), leases.Load(), time.Since(began).Round(time.Millisecond))
}

// TestSeedsThatFoundFaults runs again what showed a fault once that no story tells.
func TestSeedsThatFoundFaults(t *testing.T) {
	for seed, fault := range map[uint64]string{
		9506:    "states under way to a node that fell silent were reckoned for ever, and it got none any more",
		56216:   "a holder that woke told again what the other had, as a copy had been dropped long before",
		60917:   "the same, with a copy of a node that joined",
		136293:  "a copy that woke knew that a node had died, not that it lived again with a fresher copy",
		139009:  "a check of ours: a node that had started alone, with nothing, knew no such lease, which was taken for its release",
		245644:  "a check of ours: a copy that had been told to leave, as all others were leaving, was reckoned with",
		400839:  "the only node that a new one knew died, and it began from nothing what others held",
		803222:  "nodes that left were kept by copies that a holder did not count on, as it may not decide alone",
		1301584: "a check of ours: two nodes that had started with nothing while the holder was cut off knew no such lease",
		2139887: "a check of ours: a renewal that was decided in a permit's last moment, and not told, took up a lease that had ended",
		2004492: "a holder that had admitted nothing told its whole state, and the later, which had all of it, added it",
		522913:  "a check of ours: a release that was told before there was a copy was lost with its holder 13 ms later, as grants may be",
	} {
		if r := Run(seed, Options{}); r.Err != nil {
			t.Errorf("%v\nthe fault was: %s", r, fault)
		}
	}
}

// TestAgain holds that a run is given by its seed.
func TestAgain(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		one, two := Run(seed, Options{}), Run(seed, Options{})
		if one.Err != nil || two.Err != nil || one != two {
			t.Errorf("%+v\n%+v", one, two)
		}
	}
}
