package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestCollectorPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		keys int64
		want int
	}{
		{0, 0, 100}, // nothing was collected yet
		{0, together, 100},
		{1, 0, mostPercent},
		{garbageMost / 8, 0, 800},
		{garbageMost / 8, together - garbageMost, 800},
		{garbageLeast / 8, together - garbageMost + garbageLeast/2, 1200}, // half way
		{garbageLeast / 8, together - garbageLeast, 800},
		{garbageLeast / 8, 5 * together, 800},
		{garbageLeast / 8, garbageShare * garbageLeast * 3 / 2, 1200},
		{garbageMost, 0, 100},
		{4 * garbageMost, 0, 100},
		{garbageMost, 3 * garbageShare * garbageMost, 300},
	} {
		if got := collectorPercent(tt.live, 0, tt.keys); got != tt.want {
			t.Errorf("%d bytes live and %d of keys: GOGC %d, want %d", tt.live, tt.keys, got, tt.want)
		}
	}
}

// GOGC is a share of the stacks too: many goroutines do not multiply the garbage.
func TestManyStacksDoNotMultiplyGarbage(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	deep := make(chan struct{})
	const goroutines = 200
	for range goroutines {
		go atDepth(64, func() {
			deep <- struct{}{}
			<-done
		})
	}
	for range goroutines {
		<-deep
	}
	runtime.GC()
	live, roots := inUse()
	if roots < 10<<20 {
		t.Fatalf("the stacks take %d bytes: too few to tell", roots)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(collectorPercent(live, roots, 0)))
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if got := goal[0].Value.Uint64(); got > live+garbageMost+1<<20 {
		t.Errorf("with %d bytes of stacks the next collection is at %d bytes, want %d and %d at most", roots, got, live, garbageMost)
	}
}

// atDepth calls f with so many kilobytes on the stack.
func atDepth(kilobytes int, f func()) (some [1 << 10]byte) {
	if kilobytes == 0 {
		f()
		return some
	}
	some = atDepth(kilobytes-1, f)
	some[kilobytes]++
	return some
}

// What was set for a node does not stay for what else the program does, and not even for a node if
// GOGC is set.
func TestPaceEndsWithTheNode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, env := range []string{"", "300"} {
		t.Setenv("GOGC", env)
		paceCollector(ctx, func() int64 { return 0 })
		if now := debug.SetGCPercent(100); now != 100 {
			t.Errorf("GOGC=%s: %d %% afterwards, want 100", env, now)
		}
	}
}
