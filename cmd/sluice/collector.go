package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when the heap has doubled. The heap of a node with many keys is nearly all
// table, which holds no pointers and costs a collection nothing: doubling it would take twice the
// memory of its keys for nothing. What a collection costs, and how much garbage calls make, does
// not depend on the keys, so neither does how much garbage is let lie.
const (
	garbageAllowed = 16 << 20 // bytes between two collections of a heap larger than that
	paceEvery      = 100 * time.Millisecond
)

// paceCollector keeps the collector at that pace until ctx ends, unless the environment says
// otherwise by GOGC. (GOMEMLIMIT counts as ever.)
func paceCollector(ctx context.Context) {
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
		if percent := collectorPercent(live[0].Value.Uint64()); percent > set+set/8 || percent < set-set/8 {
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

// collectorPercent is GOGC for a heap that had so many bytes in use after the last collection. In
// a small heap it is Go's own: with more, garbage would be spread over more memory than the
// processors' caches hold, which costs more than the collections it saves.
func collectorPercent(live uint64) int {
	return int(min(100, max(1, 100*garbageAllowed/max(live, 1))))
}
