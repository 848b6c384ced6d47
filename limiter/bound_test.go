package limiter

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// steady returns a past of one unit in each of so many milliseconds up to last.
func steady(entries int64, horizon time.Duration, last Instant) *past {
	p := &past{horizon: horizon.Milliseconds(), last: last}
	newest := last.ceilMillis()
	for age := entries - 1; age >= 0; age-- {
		p.entries = append(p.entries, entry{newest - age, 1})
	}
	return p
}

// A history that has as many entries as it may is thinned: of two million hits in as many
// milliseconds none leaves early, and none late by more than a thousandth of its age.
func TestHistoriesAreBounded(t *testing.T) {
	const hits = 2 * maxEntries
	table := tableOfOne(t, MaxLimit)
	s := &table.partitions[0].state
	h := s.history(s.claim(Identity{1, 1}))
	h.horizon = uint32(MaxPer.Milliseconds())
	start := Instant(time.Hour).floorMillis()
	for i := range int64(hits) {
		h.add(1, 1, millis(start+i))
		if h.entries() > maxEntries {
			t.Fatalf("after %d hits there are %d entries", i+1, h.entries())
		}
	}
	newest := start + hits - 1
	if h.total() != hits || h.newest != newest || h.last != millis(newest) {
		t.Fatalf("%d units up to %d, the latest at %d", h.total(), h.newest, h.last)
	}
	for i := range h.entries() {
		tick, first, last := h.newest-h.age(i), start+int64(h.unitsBefore(i)), start+int64(h.units(i))-1
		if tick < last || tick-first > (newest-first)/999 {
			t.Fatalf("entry %d, of hits from %d to %d, is at %d", i, first-newest, last-newest, tick-newest)
		}
	}
	h.dropFront(h.entries())
	if s.chunks.used > 0 {
		t.Errorf("%d chunks are left", s.chunks.used)
	}
}

// However often it is thinned, of whatever, a past tells as many units, in ticks that grow, none
// earlier and none much later, and what is recent as before.
func TestThinningErrsLate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		type unit struct{ tick, told int64 }
		var units []unit
		p := &past{horizon: MaxPer.Milliseconds()}
		tick, gap := Instant(50*24*time.Hour).floorMillis(), int64(1)<<r.IntN(22)
		for range 500 {
			for range r.IntN(60) {
				tick += 1 + r.Int64N(gap)
				p.entries = append(p.entries, entry{tick, 1})
				units = append(units, unit{tick: tick})
			}
			if len(units) == 0 {
				continue
			}
			if p.last = millis(tick); r.IntN(2) == 0 {
				p.last -= Instant(r.Int64N(int64(time.Millisecond)))
			}
			p.settle()
			p.thin()
			at := 0
			for i, e := range p.entries {
				if i > 0 && e.tick <= p.entries[i-1].tick {
					t.Fatalf("ticks do not grow: %d, %d", p.entries[i-1].tick, e.tick)
				}
				for range e.units {
					u := &units[at]
					if age := tick - u.tick; e.tick < u.tick || e.tick < u.told || e.tick-u.tick > age/998 {
						t.Fatalf("a unit that is %d ms old is told to be %d ms", age, tick-e.tick)
					}
					u.told = e.tick
					at++
				}
			}
			if at != len(units) || p.last > millis(tick) || len(p.entries) > 50_000 {
				t.Fatalf("%d units of %d, in %d entries", at, len(units), len(p.entries))
			}
		}
		before := append([]entry(nil), p.entries...)
		if p.thin(); !reflect.DeepEqual(p.entries, before) {
			t.Fatal("to thin it again at once changes it")
		}
	}
}

// When its history is thinned a key still has its limits, and no more; waits are as told; and the
// copy comes to the same.
func TestThinnedHistoriesDecideAsBefore(t *testing.T) {
	const most, short = maxEntries + 1500, 700
	tier := mustTier(t, Window{short, time.Second}, Window{most, time.Hour})
	holder, copied := sharedTable(t, Config{}), sharedTable(t, Config{})
	holder.Permit(0, forEver)
	holder.Record(0, true)
	key, now := Key{ID: Identity{1, 1}}, Instant(100*24*time.Hour)
	var admitted []Instant
	for _, e := range steady(maxEntries-1000, time.Hour, now).entries {
		admitted = append(admitted, millis(e.tick))
	}
	s := &holder.partitions[0].state
	h := s.history(s.claim(key.ID))
	h.rebuild(steady(maxEntries-1000, time.Hour, now))
	b, _ := holder.Snapshot(nil, 0, 0)
	if err := copied.Install(0, b, 0, now); err != nil {
		t.Fatal(err)
	}
	counted := func(per time.Duration) (n int) { // naively
		for i := len(admitted) - 1; i >= 0 && admitted[i].Add(per) > now; i-- {
			n++
		}
		return n
	}
	r, thinned := rand.New(rand.NewPCG(1, 1)), false
	for len(admitted) < most {
		now += Instant(r.Int64N(int64(2 * time.Millisecond)))
		entries := h.entries()
		d := holder.Check(key, tier, 1, now)
		thinned = thinned || h.entries() < entries-1
		switch used := counted(time.Second); {
		case d.Allowed && used >= short:
			t.Fatalf("%d in a second, of %d", used+1, short)
		case d.Allowed:
			admitted = append(admitted, now)
		default:
			if used < short-5 { // of the milliseconds that hits count longer
				t.Fatalf("denied with %d of %d in a second: %+v", used, short, d)
			}
			now = now.Add(d.RetryAfter)
		}
	}
	if used := counted(time.Hour); used != most {
		t.Fatalf("%d hits in an hour", used)
	}
	now = now.Add(time.Second)
	d := holder.Check(key, tier, 1, now)
	if !thinned || d.Allowed || d.Limit != most || d.RetryAfter < admitted[0].Add(time.Hour).Sub(now) {
		t.Fatalf("thinned: %v, %+v; the first hit leaves in %v", thinned, d, admitted[0].Add(time.Hour).Sub(now))
	}
	if early := holder.Check(key, tier, 1, now.Add(d.RetryAfter-time.Millisecond)); early.Allowed {
		t.Error("a millisecond less than the wait is enough")
	}
	now = now.Add(d.RetryAfter)
	if after := holder.Check(key, tier, 1, now); !after.Allowed || counted(time.Hour) >= most {
		t.Errorf("after the wait: %+v, with %d in an hour", after, counted(time.Hour))
	}
	if err := copied.Apply(0, holder.Take(0).Bytes, 0, now); err != nil {
		t.Fatal(err)
	}
	copied.Permit(0, forEver)
	want, _ := holder.Inspect(key, now)
	if got, _ := copied.Inspect(key, now); !reflect.DeepEqual(got, want) {
		t.Error("the copy has another history")
	}
	if got, want := copied.Check(key, tier, 1, now), holder.Check(key, tier, 1, now); got != want {
		t.Errorf("the copy says %+v, the holder %+v", got, want)
	}
}

// What another node sends, or two holders had, is bounded likewise.
func TestHistoriesThatComeAreBounded(t *testing.T) {
	key, now := Key{ID: Identity{1, 1}}, Instant(100*24*time.Hour)
	of := func(p *past) []byte {
		b, _ := sharedTable(t, Config{}).Snapshot(nil, 0, 0)
		b[len(b)-1] = 1 // there is a key
		return append(p.append(appendIdentity(b, key.ID), 0), 0, 0)
	}
	table := sharedTable(t, Config{LargestLimit: MaxLimit})
	table.Permit(0, forEver)
	bounded := func(what string, units uint32) {
		t.Helper()
		s := &table.partitions[0].state
		h := s.history(s.records.find(key.ID))
		if h.entries() > 50_000 || h.total() != units {
			t.Errorf("%s: %d entries, with %d units of %d", what, h.entries(), h.total(), units)
		}
	}
	if err := table.Install(0, of(steady(3*maxEntries, MaxPer, now)), 0, now); err != nil {
		t.Fatal(err)
	}
	bounded("installed", 3*maxEntries)
	table.Clear(0)
	if err := table.Install(0, of(steady(maxEntries, MaxPer, now)), 0, now); err != nil {
		t.Fatal(err)
	}
	other := steady(maxEntries, MaxPer, now-Instant(maxEntries)*Instant(time.Millisecond))
	table.partitions[0].unite(key.ID, other, now)
	bounded("merged", 2*maxEntries)
}

// BenchmarkThin measures what makes room in a history that has as many entries as it may.
func BenchmarkThin(b *testing.B) {
	table, _ := benchTable(b, 1)
	s := &table.partitions[0].state
	p := steady(maxEntries, MaxPer, Instant(100*24*time.Hour))
	for range b.N {
		b.StopTimer()
		h := s.history(s.claim(Identity{1, 1}))
		h.rebuild(p)
		b.StartTimer()
		h.thin()
	}
}
