package main

import (
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server"
)

func TestPartitionsAreThoseOfANode(t *testing.T) {
	if partitions != server.Partitions {
		t.Errorf("the table has %d partitions, a node's has %d", partitions, server.Partitions)
	}
}

func TestFilling(t *testing.T) {
	table, err := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: 100})
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFilling(filling{keys: 100, hits: fullHits, over: fullOver}.args()[1:])
	if err != nil {
		t.Fatal(err)
	}
	if err := f.fill(table); err != nil {
		t.Fatal(err)
	}
	if table.Keys() != 100 {
		t.Errorf("%d keys, want 100", table.Keys())
	}
	// The windows are full, and the table's clock does not run back to the first hit.
	if err := f.fill(table); err == nil {
		t.Error("a hit beyond the limit was admitted")
	}
}

func TestLive(t *testing.T) {
	for _, c := range []struct {
		f    filling
		want int
	}{
		{filling{hits: fewHits, over: fewOver}, 4},
		{filling{hits: fullHits, over: fullOver}, 600},
		{filling{hits: rollHits, over: rollOver}, 598},
	} {
		if got := c.f.live(); got != c.want {
			t.Errorf("%+v leaves %d hits in the window, want %d", c.f, got, c.want)
		}
	}
}

func TestHitsOfAKeyAreApart(t *testing.T) {
	for _, f := range []filling{
		{keys: 1_200_000, hits: fewHits, over: fewOver},
		{keys: 1, hits: fullHits, over: fullOver},
		{keys: 1, hits: rollHits, over: rollOver},
	} {
		if apart := f.over / time.Duration(f.hits); apart < time.Millisecond {
			t.Errorf("%+v: hits of a key are %v apart, want at least 1ms", f, apart)
		}
	}
}

func TestName(t *testing.T) {
	key := []byte("sk_live_0000000000000000")
	seen := map[string]bool{}
	for _, n := range []uint64{0, 1, 15, 16, 255, 1_199_999, 1 << 60} {
		name(key, n)
		if seen[string(key)] || string(key[:8]) != "sk_live_" || len(key) != 24 {
			t.Errorf("key %d is %q", n, key)
		}
		seen[string(key)] = true
	}
}
