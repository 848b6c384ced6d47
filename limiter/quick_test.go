package limiter

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// The quick way decides and counts as the general one does, which Explain always takes: for
// histories that grow, roll and run dry, in the record and in trees of every height, with cells of
// every form; and for some whose cells stay single for as long as there is a place for them.
func TestQuickEqualsTheGeneralWay(t *testing.T) {
	for _, w := range []Window{{20, time.Second}, {40, 500 * time.Millisecond}, {600, time.Minute}, {9_000, 65 * time.Second}, {70_000, 66 * time.Second}} {
		quickEqualsTheGeneralWay(t, w, false)
		quickEqualsTheGeneralWay(t, w, true)
	}
}

func quickEqualsTheGeneralWay(t *testing.T, w Window, singles bool) {
	t.Helper()
	tier := mustTier(t, w)
	random := rand.New(rand.NewPCG(uint64(w.Limit), 1))
	quick, general := tableOfOne(t, w.Limit), tableOfOne(t, w.Limit)
	key, now := Key{ID: Identity{1, 1}}, Instant(time.Hour)
	highest, forms := uint32(0), [3]int{}
	for i := range 60_000 {
		gap := time.Duration(random.Int64N(int64(2 * w.Per / time.Duration(w.Limit))))
		switch random.IntN(2000) {
		case 0:
			gap = w.Per // all expires
		case 1:
			gap = w.Per / 2
		case 2, 3, 4, 5, 6, 7, 8, 9:
			gap = 0
		}
		if singles {
			gap = max(gap, 600*time.Microsecond) // at most two in a tick
			if w.Limit == 9_000 {
				gap = min(gap, 15*time.Millisecond) // some nine thousand are live, until the end
			}
		}
		if now = now.Add(gap); !singles && random.IntN(4) == 0 {
			now = millis(now.floorMillis()) // when something expires, to the nanosecond
		}
		cost := Cost(1)
		if !singles && random.IntN(50) == 0 {
			cost = Cost(random.IntN(30))
		}
		want, _ := general.Explain(key, tier, cost, now)
		if got := quick.Check(key, tier, cost, now); got != want {
			t.Fatalf("%v, step %d: %+v, in general %+v", w, i, got, want)
		}
		r := quick.partitions[0].records.find(key.ID)
		endsAreKnown(t, quick.partitions[0].history(r))
		if a, b := quick.partitions[0].chunks.used, general.partitions[0].chunks.used; a != b {
			t.Fatalf("%v, step %d: %d chunks in use, in general %d", w, i, a, b)
		}
		highest = max(highest, r.height())
		forms[r.form()]++
	}
	if w.Limit == 9_000 && highest < 3 {
		t.Errorf("%v: the tree grew to height %d only", w, highest)
	}
	if singles && w.Limit < 9_000 && forms != [3]int{single: 60_000} || singles && w.Limit == 9_000 && (forms[single] == 0 || forms[narrow] == 0) {
		t.Errorf("%v: after so many steps the cells were single, narrow, wide: %v", w, forms)
	}
}

// endsAreKnown fails unless the record tells where the first leaf of its tree is, and the last.
func endsAreKnown(t *testing.T, h history) {
	t.Helper()
	if h.height() == 0 {
		return
	}
	per := h.cellsIn(chunkWords)
	first, last := h.leaf(h.head()/per), h.leaf((h.tailFrom()-1)/per)
	if h.words[firstWord] != first || h.words[lastWord] != last {
		t.Fatalf("leaves %d and %d are the ends of a tree from %d to %d, which begins with %d and ends with %d",
			h.words[firstWord], h.words[lastWord], h.head(), h.head()+h.entries(), first, last)
	}
}

// tableOfOne returns a table for one key of tiers up to a limit.
func tableOfOne(t *testing.T, largest uint32) *Table {
	t.Helper()
	table, err := NewTable(Config{Partitions: 1, MaxKeys: 1, LargestLimit: largest})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A hit that is repeated the quick way leaves a copy as the general one does.
func TestRepeatingAHitEqualsTheGeneralWay(t *testing.T) {
	for _, w := range []Window{{20, time.Second}, {600, time.Minute}, {9_000, 65 * time.Second}} {
		random := rand.New(rand.NewPCG(uint64(w.Limit), 2))
		quick, general := tableOfOne(t, w.Limit), tableOfOne(t, w.Limit)
		a, b := &quick.partitions[0].state, &general.partitions[0].state
		now, repeated := Instant(time.Hour), 0
		for i := range 20_000 {
			now = now.Add(time.Duration(random.Int64N(int64(2 * w.Per / time.Duration(w.Limit)))))
			c := hitChange{id: Identity{1, 1}, at: now, units: 1, quantum: 1, horizon: w.Per.Milliseconds()}
			switch random.IntN(1000) {
			case 0:
				now = now.Add(2 * w.Per)
			case 1:
				c.horizon *= 2 // until all has expired
			case 2:
				c.at = now.Add(-2 * time.Millisecond)
			case 3:
				c.units = w.Limit / 2 // then something has to be trimmed
			}
			r := a.claim(c.id)
			if a.repeat(r, &c) {
				repeated++
			} else {
				a.add(r, &c, c.at)
			}
			b.add(b.claim(c.id), &c, c.at)
			x, y := a.history(a.records.find(c.id)), b.history(b.records.find(c.id))
			if x.last != y.last || x.newest != y.newest || x.form() != y.form() || x.entries() != y.entries() || x.total() != y.total() || x.age(0) != y.age(0) {
				t.Fatalf("%v, step %d: the copies differ after %+v", w, i, c)
			}
			if i%8 > 0 { // the whole is compared now and then, as that takes long
				continue
			}
			got, _ := quick.Snapshot(nil, 0, 0)
			if want, _ := general.Snapshot(nil, 0, 0); !bytes.Equal(got, want) {
				t.Fatalf("%v, step %d: the copies differ after %+v or one of those before", w, i, c)
			}
		}
		if a.chunks.used != b.chunks.used {
			t.Errorf("%v: %d chunks in use, in general %d", w, a.chunks.used, b.chunks.used)
		}
		if repeated < 1_000 {
			t.Errorf("%v: only %d hits were repeated the quick way", w, repeated)
		}
	}
}
