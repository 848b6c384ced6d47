package limiter

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What two holders admitted counts once each after a merge, whichever way it came, and a
// copy of the winner follows.
func TestMergeIsTheUnion(t *testing.T) {
	type hit struct {
		at    Instant
		units uint64
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		tiers := []*Tier{
			mustTier(rt, Window{10_000, 10 * time.Minute}), mustTier(rt, Window{400, 10 * time.Minute}, Window{30, time.Second}),
			mustTier(rt, Window{9_000, 10 * time.Minute}, Window{50, 100 * time.Millisecond}),
		}
		shift := time.Duration(r.IntN(100_000_000)-50_000_000) * time.Millisecond
		winner, loser, follower := sharedTable(rt, Config{}), sharedTable(rt, Config{}), sharedTable(rt, Config{})
		key := Key{1, Identity{1, 1}}
		now := Instant(100 * 24 * time.Hour)
		for _, table := range []*Table{winner, loser} {
			table.Permit(1, forEver)
			table.Record(1, true)
		}
		follow := func() {
			if c := winner.Take(1); c.Last != 0 {
				if err := follower.Apply(1, c.Bytes, 0, now); err != nil {
					rt.Fatal(err)
				}
			}
		}
		var hits []hit // by the winner's clock
		var pending []hit
		for range 1 + r.IntN(3) {
			for range r.IntN(150) {
				now = now.Add(time.Duration(r.IntN(1000*(1+r.IntN(2)*r.IntN(20)))) * time.Millisecond)
				cost := Cost(1 + r.IntN(30))
				if r.IntN(2) == 0 {
					if winner.Check(key, tiers[r.IntN(3)], cost, now).Allowed {
						hits = append(hits, hit{now, uint64(cost)})
					}
				} else if loser.Check(key, tiers[r.IntN(3)], cost, now.Add(-shift)).Allowed {
					pending = append(pending, hit{now, uint64(cost)})
				}
				if r.IntN(30) == 0 {
					follow()
				}
			}
			c := loser.Take(1)
			var err error
			if r.IntN(2) == 0 {
				b, _ := loser.Snapshot(nil, 1, 0)
				err = winner.Merge(1, []Piece{{Bytes: b}}, shift, now)
			} else if c.Last != 0 {
				err = winner.Merge(1, []Piece{{Bytes: c.Bytes, From: c.First}}, shift, now)
			}
			if err != nil {
				rt.Fatal(err)
			}
			hits, pending = append(hits, pending...), nil
			loser.Clear(1)
			follow()
		}
		follower.Permit(1, forEver)
		for range 100 {
			for _, tier := range tiers {
				d, states := winner.Explain(key, tier, 0, now)
				for i, w := range tier.Windows() {
					used := uint64(0)
					for _, h := range hits {
						if h.at.Add(w.Per) > now {
							used += h.units
						}
					}
					if min(used, uint64(w.Limit)) != min(uint64(states[i].Used), uint64(w.Limit)) {
						rt.Fatalf("%v counts %d, want %d", w, states[i].Used, used)
					}
				}
				if copied := follower.Check(key, tier, 0, now); copied != d {
					rt.Fatalf("the copy says %+v, want %+v", copied, d)
				}
			}
			now = now.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
		}
	})
}

// Leases of two holders are united by their run.
func TestMergeLeases(t *testing.T) {
	key := Key{0, Identity{1, 1}}
	tier, err := NewTier(TierSpec{Name: "t", Windows: []Window{{100, time.Minute}}, Concurrent: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := Instant(time.Hour)
	run := func(n uint64) RunHash { return RunHash{n, n} }
	// One step: acquire, renew or release with a nonce.
	type step struct {
		op    string
		nonce uint64
		ttl   time.Duration
	}
	for _, c := range []struct {
		name      string
		own, loss []step
		nonce     uint64 // 0: nothing live
		left      time.Duration
	}{
		{"known here only", []step{{"acquire", 1, MinTTL}}, nil, 1, MinTTL},
		{"known there only", nil, []step{{"acquire", 1, MinTTL}}, 1, MinTTL},
		{"renewed there", []step{{"acquire", 1, MinTTL}}, []step{{"acquire", 1, MaxTTL}}, 1, MaxTTL},
		{"renewed here", []step{{"acquire", 1, MaxTTL}}, []step{{"acquire", 1, MinTTL}}, 1, MaxTTL},
		{"released there", []step{{"acquire", 1, MaxTTL}}, []step{{"acquire", 1, MinTTL}, {"release", 1, 0}}, 0, 0},
		{"released here", []step{{"acquire", 1, MinTTL}, {"release", 1, 0}}, []step{{"acquire", 1, MaxTTL}}, 0, 0},
		{"released there, taken anew here", []step{{"acquire", 2, MaxTTL}}, []step{{"acquire", 1, MinTTL}, {"release", 1, 0}}, 2, MaxTTL},
		{"released here, taken anew there", []step{{"acquire", 1, MinTTL}, {"release", 1, 0}}, []step{{"acquire", 2, MaxTTL}}, 2, MaxTTL},
		{"released there, an answer that never came here", []step{{"acquire", 2, MinTTL}}, []step{{"acquire", 1, MaxTTL}, {"release", 1, 0}}, 0, 0},
		{"released here, an answer that never came there", []step{{"acquire", 1, MaxTTL}, {"release", 1, 0}}, []step{{"acquire", 2, MinTTL}}, 0, 0},
		{"twice, longer there", []step{{"acquire", 1, MinTTL}}, []step{{"acquire", 2, MaxTTL}}, 2, MaxTTL},
		{"twice, longer here", []step{{"acquire", 1, MaxTTL}}, []step{{"acquire", 2, MinTTL}}, 1, MaxTTL},
	} {
		for _, by := range []string{"snapshot", "changes"} {
			tables := [3]*Table{sharedTable(t, Config{}), sharedTable(t, Config{}), sharedTable(t, Config{})}
			for i, steps := range [][]step{c.own, c.loss} {
				tables[i].Permit(0, forEver)
				tables[i].Record(0, true)
				for _, s := range steps {
					ref := LeaseRef{Key: key, Run: run(1), Nonce: s.nonce}
					if s.op == "release" {
						tables[i].Release(ref, now)
					} else if g, err := tables[i].Acquire(&Acquisition{Key: key, Tier: tier, Run: run(1), TTL: s.ttl, Nonce: s.nonce}, now); err != nil || !g.Granted {
						t.Fatal(g, err)
					}
				}
			}
			other, _ := tables[1].Snapshot(nil, 0, 0)
			if by == "changes" {
				if other = tables[1].Take(0).Bytes; other == nil {
					continue
				}
			}
			if err := tables[0].Merge(0, []Piece{{Bytes: other}}, 0, now); err != nil {
				t.Fatal(err)
			}
			if err := tables[2].Apply(0, tables[0].Take(0).Bytes, 0, now); err != nil {
				t.Fatal(err)
			}
			for i, table := range []*Table{tables[0], tables[2]} {
				ks, _ := table.Inspect(key, now)
				live := len(ks.Leases) == 1 && ks.Leases[0].Nonce == c.nonce && ks.Leases[0].Expiry == now.Add(c.left)
				if c.nonce == 0 && (len(ks.Leases) > 0 || ks.Tombstones != 1) || c.nonce != 0 && !live {
					t.Errorf("%s, by %s, table %d: %+v", c.name, by, i, ks)
				}
			}
		}
	}
}

// A merge brings the limits that histories are trimmed to, and no unit twice that a
// skipped change has.
func TestMergeKeepsWhatALargerTierCounts(t *testing.T) {
	small, large := mustTier(t, Window{10, time.Minute}), mustTier(t, Window{600, time.Minute})
	key := Key{0, Identity{1, 1}}
	now := Instant(time.Hour)
	winner, loser := sharedTable(t, Config{}), sharedTable(t, Config{})
	winner.Permit(0, forEver)
	loser.Permit(0, forEver)
	loser.Check(key, large, 500, now)
	loser.Record(0, true)
	for range 40 {
		now = now.Add(time.Millisecond)
		loser.Check(key, large, 2, now)
	}
	winner.Check(key, small, 1, now)
	c := loser.Take(0)
	if err := winner.Merge(0, []Piece{{Bytes: c.Bytes, From: c.First, First: c.First + 10}}, 0, now); err != nil {
		t.Fatal(err)
	}
	if d := winner.Check(key, large, 0, now); d.Remaining != 600-61 {
		t.Errorf("%d remain of 600 after 61", d.Remaining)
	}
}

// What a holder that stood still admitted more than 2³² ms ago has expired: it is not counted.
func TestMergeOfLongAgo(t *testing.T) {
	tier := mustTier(t, Window{10, 30 * 24 * time.Hour})
	key, now := Key{0, Identity{1, 1}}, Instant(100*24*time.Hour)
	winner, loser := sharedTable(t, Config{}), sharedTable(t, Config{})
	winner.Permit(0, forEver)
	loser.Permit(0, forEver)
	loser.Check(key, tier, 5, now)
	now = now.Add(50 * 24 * time.Hour)
	winner.Check(key, tier, 1, now)
	b, _ := loser.Snapshot(nil, 0, 0)
	if err := winner.Merge(0, []Piece{{Bytes: b}}, 0, now); err != nil {
		t.Fatal(err)
	}
	if d := winner.Check(key, tier, 0, now); d.Remaining != 9 {
		t.Errorf("%d remain of 10 after 1", d.Remaining)
	}
}

// A merge makes room at once for the keys that it brings, those with nothing but leases among them, and
// for no others. One by one, in their order, 32,000 of them took half a second.
func TestMergeForeseesItsKeys(t *testing.T) {
	tier, err := NewTier(TierSpec{Name: "t", Windows: []Window{{10, 10 * time.Minute}}, Concurrent: 1})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := sharedTable(t, Config{MaxKeys: 10_000}), sharedTable(t, Config{MaxKeys: 10_000})
	const now = Instant(100 * time.Hour)
	key := func(i int) Key { return Key{0, Identity{uint64(i), uint64(i) << 50}} }
	for _, table := range []*Table{ours, theirs} {
		table.Permit(0, forEver)
		for i := range 100 { // known to both
			table.Check(key(i), tier, 1, now)
		}
	}
	for i := 100; i < 1100; i++ {
		theirs.Check(key(i), tier, 1, now)
	}
	for i := 1000; i < 3000; i++ {
		if g, err := theirs.Acquire(&Acquisition{Key: key(i), Tier: tier, TTL: time.Minute, Nonce: 1}, now); err != nil || !g.Granted {
			t.Fatal(g, err)
		}
	}
	of := admitted{told: map[Identity]*past{}, leased: map[Identity]bool{}}
	snapshot, _ := theirs.Snapshot(nil, 0, 0)
	if err := ours.gather(&of, Piece{Bytes: snapshot}, 0, now); err != nil {
		t.Fatal(err)
	}
	if n := ours.partitions[0].unknown(&of); n != 2900 {
		t.Errorf("a merge foresees %d keys, want 2900", n)
	}
	if err := ours.Merge(0, []Piece{{Bytes: snapshot}}, 0, now); err != nil || ours.Keys() != 3000 {
		t.Errorf("after the merge there are %d keys, want 3000: %v", ours.Keys(), err)
	}
}
