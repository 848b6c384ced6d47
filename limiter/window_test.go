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

// Three and more tiers that share a key in any order, each as likely as the others, leave a
// history that each finds as the naive list has it.
func TestManyTiersOfOneKeyEqualTheNaiveList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		all := steps(randomBytes(seed, rapid.IntRange(50, 300).Draw(rt, "steps")*stepBytes))
		r := rand.New(rand.NewPCG(seed, 2))
		mix := make([]*Tier, 3+r.IntN(4))
		for i := range mix {
			mix[i] = stepTiers[r.IntN(len(stepTiers))]
		}
		for i := range all {
			s := &all[i]
			s.tier = mix[r.IntN(len(mix))]
			if r.IntN(4) > 0 {
				s.cost = r.IntN(4)
			}
			s.gap = min(s.gap, time.Duration(s.tier.horizon)*time.Millisecond/time.Duration(1+r.IntN(60)))
		}
		compare(rt, all)
	})
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
// them drain, with cells of every form, and compares them with the naive list
// every now and then.
func TestDeepHistories(t *testing.T) {
	for _, test := range []struct {
		Window
		form form
	}{
		{Window{9_000, 30 * time.Second}, single},
		{Window{9_000, 30 * time.Second}, narrow},
		{Window{9_000, 2 * time.Minute}, wide},
		{Window{10_000, 6 * time.Second}, single}, // sliding: as much leaves as comes
		{Window{10_000, 6 * time.Second}, narrow},
	} {
		w := test.Window
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
			cost := Cost(1 + i%3/2)
			if test.form == single {
				now, cost = now.Add(500*time.Microsecond), 1
			}
			if i%3_001 == 0 {
				now = now.Add(w.Per / 4)
			}
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
		if f := table.partitions[0].records.find(key.ID).form(); f != test.form {
			t.Errorf("%v: the cells are of form %d in the end, want %d", w, f, test.form)
		}
		table.Sweep(now.Add(w.Per), 10)
		if p := &table.partitions[0]; table.Keys() != 0 || p.chunks.used != 0 || p.records.pages != nil {
			t.Errorf("%v: %d keys, %d chunks left", w, table.Keys(), p.chunks.used)
		}
	}
}

// The oldest hit of a history that is a tree counts until its window has passed, and no
// nanosecond longer.
func TestOldestOfALongHistoryExpiresOnTime(t *testing.T) {
	tier := mustTier(t, Window{20, time.Second})
	for _, tt := range []struct {
		after time.Duration
		want  uint32
	}{{time.Second - 1, 20 - 13 - 1}, {time.Second, 20 - 13}} {
		table, err := NewTable(Config{Partitions: 1, MaxKeys: 1})
		if err != nil {
			t.Fatal(err)
		}
		key, first := Key{ID: Identity{1, 1}}, Instant(time.Hour)
		for i := range 13 {
			table.Check(key, tier, 1, first.Add(time.Duration(i)*10*time.Millisecond))
		}
		if d := table.Check(key, tier, 1, first.Add(tt.after)); !d.Allowed || d.Remaining != tt.want {
			t.Errorf("after %v: %+v, want %d remaining", tt.after, d, tt.want)
		}
	}
}

// denied asks for cost 1 at every gap and returns how many were denied.
func denied(table *Table, key Key, tier *Tier, now *Instant, gap time.Duration, hits int) (n int) {
	for range hits {
		*now = now.Add(gap)
		if !table.Check(key, tier, 1, *now).Allowed {
			n++
		}
	}
	return n
}

func mustTier(t failer, windows ...Window) *Tier {
	t.Helper()
	tier, err := NewTier(TierSpec{Name: "t", Windows: windows})
	if err != nil {
		t.Fatal(err)
	}
	return tier
}

// A hit under a tier with a coarse quantum once swallowed all hits until the end of its
// quantum, which then expired together: legal hits under a finer tier were denied.
func TestCoarseQuantumDeniesNoLaterHits(t *testing.T) {
	table, _ := NewTable(Config{Partitions: 1, MaxKeys: 9})
	key := Key{ID: Identity{1, 1}}
	now := Instant(time.Hour)
	table.Check(key, mustTier(t, Window{MaxLimit, 30 * 24 * time.Hour}), 1, now)
	if n := denied(table, key, mustTier(t, Window{10, time.Minute}), &now, 10*time.Second, 300); n != 0 {
		t.Errorf("%d of 300 hits were denied, at 6 a minute of 10", n)
	}
}

// Units beyond the largest limit once added up past 32 bits, and a full window let more
// through.
func TestUnitsBeyondTheLargestLimitAreNotAddedUp(t *testing.T) {
	table, _ := NewTable(Config{Partitions: 1, MaxKeys: 9})
	key := Key{ID: Identity{1, 1}}
	month, second := mustTier(t, Window{MaxLimit, 30 * 24 * time.Hour}), mustTier(t, Window{MaxLimit, time.Second})
	now := Instant(time.Hour)
	table.Check(key, month, 1, now)
	for range 5 {
		now = now.Add(2 * time.Second)
		if !table.Check(key, second, MaxLimit, now).Allowed {
			t.Fatal("denied")
		}
	}
	if d := table.Check(key, month, 1, now.Add(time.Second)); d.Allowed || d.Remaining != 0 {
		t.Errorf("with 5·10⁹ of 10⁹ units used: %+v", d)
	}
}

// A tier that the short way served was once not among the limits that a history is trimmed
// to: a hit under a smaller one made it forget.
func TestTrimKnowsTheLimitsOfQuickTiers(t *testing.T) {
	table, _ := NewTable(Config{Partitions: 1, MaxKeys: 9})
	key := Key{ID: Identity{1, 1}}
	small, large := mustTier(t, Window{10, time.Minute}), mustTier(t, Window{600, time.Minute})
	brief := mustTier(t, Window{20, time.Second})
	now := Instant(time.Hour)
	table.Check(key, small, 1, now)
	for range 5 {
		now = now.Add(time.Second)
		table.Check(key, large, 20, now)
	}
	now = now.Add(2 * time.Second)
	table.Check(key, brief, 1, now)
	if d := table.Check(key, large, 0, now); d.Remaining != 600-102 {
		t.Errorf("%d remain of 600 after 102 units", d.Remaining)
	}
}

// A history was once trimmed to the limits of the tiers that had been asked for: a larger one
// that came later found less than was admitted, and let more through.
func TestTrimKnowsTheLimitsOfTiersToCome(t *testing.T) {
	second, brief := mustTier(t, Window{1, time.Second}), mustTier(t, Window{3, 50 * time.Millisecond})
	large := mustTier(t, Window{10, time.Second})
	table, _ := NewTable(Config{Partitions: 1, MaxKeys: 9, LargestLimit: large.LargestLimit()})
	key := Key{ID: Identity{1, 1}}
	now := Instant(time.Hour)
	table.Check(key, second, 1, now)
	for range 4 {
		now = now.Add(60 * time.Millisecond)
		table.Check(key, brief, 3, now)
	}
	if d := table.Check(key, large, 0, now); d.Allowed || d.Remaining != 0 {
		t.Errorf("%+v of 10 in a second after 13 units", d)
	}
	if n := openHistory(table.partitions[0].records.find(key.ID), &table.partitions[0].chunks); n.total() < 10 {
		t.Errorf("%d units are left, want those of the largest limit", n.total())
	}
	table.Clear(0)
	if got := table.partitions[0].largest; got != 10 {
		t.Errorf("a cleared partition keeps %d units", got)
	}
}

// A key that was once asked for with a long tier keeps no more than its windows can count.
func TestHistoryIsBoundedByTheLargestLimit(t *testing.T) {
	table, _ := NewTable(Config{Partitions: 1, MaxKeys: 9})
	key := Key{ID: Identity{1, 1}}
	minute, day := mustTier(t, Window{600, time.Minute}), mustTier(t, Window{1000, 24 * time.Hour})
	now := Instant(time.Hour)
	table.Check(key, minute, 1, now)
	table.Check(key, day, 0, now)
	if n := denied(table, key, minute, &now, 110*time.Millisecond, 20_000); n != 0 {
		t.Errorf("%d hits were denied", n)
	}
	p := &table.partitions[0]
	if n := openHistory(p.records.find(key.ID), &p.chunks); n.entries() > 1001 {
		t.Errorf("%d entries for a largest limit of 1000", n.entries())
	}
}
