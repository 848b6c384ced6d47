package limiter

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestDecisionsEqualTheNaiveList runs at least 100,000 generated steps over keys,
// tiers, windows, costs, peeks, times and tier changes through the engine and through a
// naive list of timestamps.
func TestDecisionsEqualTheNaiveList(t *testing.T) {
	total := 0
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		n := rapid.IntRange(1, 400).Draw(rt, "steps")
		all := steps(randomBytes(seed, n*stepBytes))
		total += len(all)
		compare(rt, all)
	})
	for seed := uint64(0); total < 110_000; seed++ {
		all := steps(randomBytes(seed, 700*stepBytes))
		total += len(all)
		compare(t, all)
	}
	t.Logf("%d steps", total)
}

func FuzzDecisionsEqualTheNaiveList(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomBytes(seed, 60*stepBytes))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 500*stepBytes {
			data = data[:500*stepBytes]
		}
		compare(t, steps(data))
	})
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestDeepHistories fills histories until their trees are three chunks high and lets
// them drain, with narrow and with wide cells, and compares them with the naive list
// every now and then.
func TestDeepHistories(t *testing.T) {
	tiers := []Window{
		{9_000, 30 * time.Second}, // narrow cells
		{9_000, 2 * time.Minute},  // wide cells
		{10_000, 6 * time.Second}, // sliding: as much leaves as comes
	}
	for _, w := range tiers {
		tier, err := NewTier(TierSpec{Name: "deep", Windows: []Window{w, {7_000, w.Per / 3}}})
		if err != nil {
			t.Fatal(err)
		}
		table, _ := NewTable(Config{Partitions: 1, MaxKeys: 2})
		key := Key{ID: Identity{1, 1}}
		var o oracle
		now := Instant(0)
		highest := uint32(0)
		for i := range 13_000 {
			now = now.Add(time.Duration(i*i%5) * 500 * time.Microsecond)
			if i%3_001 == 0 {
				now = now.Add(w.Per / 4)
			}
			cost := Cost(1 + i%3/2)
			before := o.clone()
			got := table.Check(key, tier, cost, now)
			if i%193 == 0 {
				if want := o.check(tier, int(cost), now); got != want {
					t.Fatalf("step %d:\n got %+v\nwant %+v\n%d hits before", i, got, want, len(before.hits))
				}
			} else if got.Allowed {
				o.forget(tier, now)
				o.admit(tier, int(cost), now)
			}
			p := &table.partitions[0]
			highest = max(highest, p.records.find(key.ID).height())
			if used := p.history(p.records.find(key.ID)).entries(); p.chunks.used > used/8+used/64+24 {
				t.Fatalf("step %d: %d chunks for %d entries", i, p.chunks.used, used)
			}
		}
		if highest < 3 {
			t.Errorf("%v: the tree grew to height %d only", w, highest)
		}
		table.Sweep(now.Add(w.Per), 10)
		if p := &table.partitions[0]; table.Keys() != 0 || p.chunks.used != 0 || p.records.pages != nil {
			t.Errorf("%v: %d keys, %d chunks left", w, table.Keys(), p.chunks.used)
		}
	}
}
