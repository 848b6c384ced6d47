package limiter

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a decision has read of a history is read again when its cells change their form: two single
// ones of one tick become one narrow one, and places shift.
func TestReadingsFollowAChangeOfForm(t *testing.T) {
	tier := mustTier(t, Window{5, 100 * time.Millisecond}, Window{10, time.Minute})
	table := tableOfOne(t, 10)
	key, start := Key{ID: Identity{1, 1}}, Instant(time.Hour)
	for _, at := range []time.Duration{1, 7, 7} {
		table.Check(key, tier, 1, start.Add(at*time.Millisecond))
	}
	got := table.Check(key, tier, 2, start.Add(200*time.Millisecond))
	want := Decision{Allowed: true, Exactness: Exact, Limit: 5, Remaining: 3, Reset: 100 * time.Millisecond, Permit: forEver}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if f := table.partitions[0].records.find(key.ID).form(); f != narrow {
		t.Errorf("the cells are of form %d", f)
	}
}

// However they are kept, units of one tick are one entry to whoever looks.
func TestUnitsOfOneTickAreOneEntry(t *testing.T) {
	tier := mustTier(t, Window{100, time.Minute})
	for hits, form := range map[int]form{1: single, 2: single, 3: narrow} {
		table := tableOfOne(t, 100)
		key, now := Key{ID: Identity{1, 1}}, Instant(time.Hour)
		for range hits {
			table.Check(key, tier, 1, now)
		}
		if f := table.partitions[0].records.find(key.ID).form(); f != form {
			t.Errorf("%d hits: the cells are of form %d, want %d", hits, f, form)
		}
		state, _ := table.Inspect(key, now)
		if len(state.History) != 1 || state.History[0].Units != uint32(hits) {
			t.Errorf("%d hits: %+v", hits, state.History)
		}
		var p past
		s := &table.partitions[0].state
		h := s.history(s.records.find(key.ID))
		h.tell(&p, 0)
		if len(p.entries) != 1 || p.entries[0].units != uint32(hits) {
			t.Errorf("%d hits: told %+v", hits, p.entries)
		}
	}
}

// Surplus units go a tick at a time, in every form: so copies that keep a history otherwise agree.
func TestTrimmingLeavesTicksWhole(t *testing.T) {
	for _, f := range []form{single, narrow, wide} {
		table := tableOfOne(t, 100)
		s := &table.partitions[0].state
		h := s.history(s.claim(Identity{1, 1}))
		start := Instant(time.Hour)
		for _, at := range []time.Duration{1, 1, 2, 3, 4, 4} {
			h.add(1, 1, start.Add(at*time.Millisecond))
		}
		h.reencode(f, 0)
		for _, step := range []struct{ most, left uint32 }{{6, 6}, {5, 6}, {4, 4}, {3, 3}, {1, 2}} {
			h.trim(step.most)
			if h.total() != step.left {
				t.Errorf("form %d: %d units are left of those that exceed %d, want %d", f, h.total(), step.most, step.left)
			}
		}
	}
}

// When single cells have no place left in the tree, which a history of more than half of them comes to as it
// slides, the next hit finds another form, also the quick way.
func TestSingleCellsWithoutAPlaceBecomeNarrow(t *testing.T) {
	tier := mustTier(t, Window{10_000, time.Minute})
	table := tableOfOne(t, 10_000)
	key, now := Key{ID: Identity{1, 1}}, Instant(time.Hour)
	for steps := 0; ; steps++ {
		table.Check(key, tier, 1, now)
		r := table.partitions[0].records.find(key.ID)
		if r.form() != single || steps > 2*maxSingle {
			t.Fatalf("step %d: form %d, and the last place was not taken", steps, r.form())
		}
		if r.height() > 0 && r.head()+r.entries() == maxSingle {
			break
		}
		now = now.Add(7 * time.Millisecond)
	}
	before := table.partitions[0].records.find(key.ID).entries()
	d := table.Check(key, tier, 1, now.Add(time.Millisecond)) // and nothing expires meanwhile
	r := table.partitions[0].records.find(key.ID)
	if !d.Allowed || d.Remaining != 10_000-before-1 || r.entries() != before+1 || r.form() != narrow {
		t.Errorf("%+v; %d entries after %d, of form %d", d, r.entries(), before, r.form())
	}
}

// A past that is followed by a later one is what the two are united, and by any other unchanged.
func TestFollowIsUnite(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string, from int64) *past {
			p := &past{horizon: rapid.Int64Range(1, 9).Draw(rt, name+" horizon")}
			for tick := from; len(p.entries) < 4 && rapid.Bool().Draw(rt, name+" goes on"); {
				tick += rapid.Int64Range(1, 3).Draw(rt, name+" step")
				p.add(entry{tick, rapid.Uint32Range(1, 5).Draw(rt, name+" units")})
				p.last = millis(tick) - Instant(rapid.Int64Range(0, 999_999).Draw(rt, name+" last"))
			}
			p.settle()
			return p
		}
		a, b := draw("a", 10), draw("b", rapid.Int64Range(10, 20).Draw(rt, "begin"))
		want, was := unite(a, b), &past{a.horizon, a.last, slices.Clone(a.entries)}
		later := len(a.entries) > 0 && len(b.entries) > 0 && b.entries[0].tick > a.entries[len(a.entries)-1].tick
		if a.follow(b) != later {
			rt.Fatalf("followed: %v, want %v", !later, later)
		}
		if !later {
			want = was
		}
		if a.horizon != want.horizon || a.last != want.last || !slices.Equal(a.entries, want.entries) {
			rt.Fatalf("is %+v, want %+v", a, want)
		}
	})
}
