package main

import (
	"context"
	"runtime/debug"
	"testing"
)

func TestCollectorPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{
		{0, 100}, // nothing was collected yet
		{garbageAllowed, 100},
		{4 * garbageAllowed, 25},
		{100 * garbageAllowed, 1},
		{1 << 40, 1}, // 0 would collect all the time
	} {
		if got := collectorPercent(tt.live); got != tt.want {
			t.Errorf("%d bytes live: GOGC %d, want %d", tt.live, got, tt.want)
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
		paceCollector(ctx)
		if now := debug.SetGCPercent(100); now != 100 {
			t.Errorf("GOGC=%s: %d %% afterwards, want 100", env, now)
		}
	}
}
