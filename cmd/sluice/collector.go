package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap has doubled. The heap of a node is small, as the keys are not
// in it, and would double dozens of times a second. So more garbage is let lie: each collection
// stops all calls for a moment, and takes processors from them. Twice as much again would save
// little more, and where keys take much, what a key takes shall not be mostly garbage.
const (
	garbageMost  = 32 << 20 // bytes between two collections, or what the heap has if that is more
	garbageLeast = 16 << 20 // the same where keys take more than the rest of
	together     = 64 << 20 // which is for both
	garbageShare = 32       // or that part of what the keys take, if that is more
	mostPercent  = 1600     // with which 2 MB in use are let have as much
	paceEvery    = 100 * time.Millisecond
)

// paceCollector keeps the collector at that pace until ctx ends, unless the environment says
// otherwise by GOGC. (GOMEMLIMIT counts as ever, for what is in the heap.) table tells how many
// bytes the keys take.
func paceCollector(ctx context.Context, table func() int64) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	set := 100
	defer debug.SetGCPercent(set)
	for {
		metrics.Read(live)
		if percent := collectorPercent(live[0].Value.Uint64(), table()); percent > set+set/8 || percent < set-set/8 {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// collectorPercent is GOGC for a heap that had so many bytes in use after the last collection,
// beside those of the keys. Before the first collection nothing is known, and Go's rule holds: it
// must come, or nothing ever would be.
func collectorPercent(live uint64, keys int64) int {
	if live == 0 {
		return 100
	}
	left := max(together-keys, 0)
	allowed := max(garbageLeast, min(garbageMost, left), keys/garbageShare)
	return int(min(max(100, 100*uint64(allowed)/live), mostPercent))
}
