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
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	set := 100
	defer debug.SetGCPercent(set)
	for {
		live, roots := inUse()
		if percent := collectorPercent(live, roots, table()); percent > set+set/8 || percent < set-set/8 {
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

// inUse is how many bytes the last collection found in use: in the heap, and in stacks and global
// variables.
func inUse() (live, roots uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64() + samples[2].Value.Uint64()
}

// collectorPercent is GOGC after a collection that found so many bytes in use, beside those of the
// keys. GOGC is a share of the heap and the roots: with ten thousand streams the stacks are most of
// it. Before the first collection nothing is known, and Go's rule holds: it must come, or nothing
// ever would be.
func collectorPercent(live, roots uint64, keys int64) int {
	if live == 0 {
		return 100
	}
	left := max(together-keys, 0)
	allowed := max(garbageLeast, min(garbageMost, left), keys/garbageShare)
	return int(min(max(100, 100*uint64(allowed)/(live+roots)), mostPercent))
}
