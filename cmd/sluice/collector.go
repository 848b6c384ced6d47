package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap has doubled. The heap of a node is small, as the keys are not
// in it, and would double several times a second. So garbage is let lie as if the keys were in it,
// up to some megabytes: more would be spread over more memory than the processors' caches hold,
// which costs more than the collections it saves. Where keys take so much that this is no reason,
// it may be a small share of them.
const (
	garbageAllowed = 16 << 20 // bytes between two collections, or what the heap has if that is more
	garbageShare   = 32       // or that part of what the keys take, if that is more
	mostPercent    = 1600     // with which 1 MB in use is let have as much
	paceEvery      = 100 * time.Millisecond
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
	allowed := min(max(garbageAllowed, uint64(keys)/garbageShare), live+uint64(keys))
	return int(min(max(100, 100*allowed/live), mostPercent))
}
