package main

import (
	"context"
	"runtime/debug"
	"testing"
)

func TestCollectorPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		keys int64
		want int
	}{
		{0, 0, 100}, // nothing was collected yet
		{0, 100 * garbageAllowed, 100},
		{1, 100 * garbageAllowed, mostPercent},
		{garbageAllowed, 0, 100},
		{garbageAllowed / 2, 0, 100},
		{garbageAllowed / 2, garbageAllowed / 4, 150},
		{garbageAllowed / 2, garbageShare * garbageAllowed, 200},
		{garbageAllowed, 3 * garbageShare * garbageAllowed, 300},
		{4 * garbageAllowed, 0, 100},
		{4 * garbageAllowed, garbageShare * garbageAllowed, 100},
	} {
		if got := collectorPercent(tt.live, tt.keys); got != tt.want {
			t.Errorf("%d bytes live and %d of keys: GOGC %d, want %d", tt.live, tt.keys, got, tt.want)
		}
	}
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
