package limiter

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRecordsEqualAMap puts and takes records and compares the table with a map, and
// its order with its invariants, with hashes that collide much.
func TestRecordsEqualAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := newRecords(newArena[record](PageRecords), nil)
		want := make(map[Identity]Instant)
		spread := rapid.SampledFrom([]uint64{1, 4, 40, 4000}).Draw(rt, "spread")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		id := func() Identity { return Identity{r.Uint64N(9), r.Uint64N(spread) * (^uint64(0) / spread)} }
		growing := true
		for i := range rapid.IntRange(1, 900).Draw(rt, "steps") {
			if i%300 == 250 {
				growing = !growing
			}
			id := id()
			rec := table.find(id)
			if last, ok := want[id]; ok != (rec != nil) || ok && rec.last != last {
				rt.Fatalf("step %d: found %v, want %v", i, rec, ok)
			}
			switch {
			case rec == nil && (growing || r.IntN(4) == 0):
				table.insert(id).last = Instant(i)
				want[id] = Instant(i)
			case rec != nil && (!growing || r.IntN(4) == 0):
				for at := uint32(0); ; at++ {
					if table.at(at) == rec {
						table.remove(at)
						break
					}
				}
				delete(want, id)
				if r.IntN(50) == 0 {
					table.shrink()
				}
			}
			if table.n != uint32(len(want)) {
				rt.Fatalf("step %d: %d records, want %d", i, table.n, len(want))
			}
			if i%50 == 0 {
				checkOrder(rt, &table)
			}
		}
		for id, last := range want {
			if rec := table.find(id); rec == nil || rec.last != last {
				rt.Fatalf("%v lost", id)
			}
		}
	})
}

// TestRecordsThatComeInOrderDoNotCrowd puts records in the order of their hashes, as snapshots come. Each
// once found its place behind all that had come before: a state of 80,000 keys took seconds.
func TestRecordsThatComeInOrderDoNotCrowd(t *testing.T) {
	// What is to come is guessed, so there are many of them.
	for seed, n := range append([]int{1, 96, 97, 2000, 200_000}, slices.Repeat([]int{40_000}, 20)...) {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
		ids := make([]Identity, n)
		for i := range ids {
			ids[i] = Identity{r.Uint64(), r.Uint64()}
		}
		slices.SortFunc(ids, func(a, b Identity) int { return cmp.Compare(a.lo, b.lo) })
		table := newRecords(newArena[record](PageRecords), nil)
		furthest := uint32(0)
		for _, id := range ids {
			rec := table.insertNext(id, uint32(n))
			at := table.home(id)
			for table.at(at) != rec {
				at++
			}
			furthest = max(furthest, at-table.home(id))
		}
		checkOrder(t, &table)
		if furthest > 1000 {
			t.Errorf("of %d records one is %d slots from home", n, furthest)
		}
		if most := pagesFor(uint32(n)) * 5 / 4; len(table.pages) > most+1 {
			t.Errorf("%d records take %d pages, more than %d", n, len(table.pages), most)
		}
	}
}

func checkOrder(t failer, table *records) {
	t.Helper()
	var before *record
	n := uint32(0)
	free := int64(-1) // the last free slot
	for i := range table.slots() {
		r := table.at(i)
		if !r.occupied() {
			free = int64(i)
			continue
		}
		n++
		if before != nil && before.id.lo > r.id.lo {
			t.Fatalf("slot %d is out of order", i)
		}
		if home := table.home(r.id); home > i || int64(home) <= free {
			t.Fatalf("slot %d: home %d, last free slot %d", i, home, free)
		}
		before = r
	}
	if n != table.n {
		t.Fatalf("%d records in the slots, %d counted", n, table.n)
	}
}

// Memory follows what is held: a table that grew large and was emptied gives all pages
// back, and one that fills stays within an eighth of what it needs.
func TestRecordsGiveMemoryBack(t *testing.T) {
	a := newArena[record](PageRecords)
	table := newRecords(a, nil)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 50_000 {
		table.insert(Identity{r.Uint64(), r.Uint64()})
		if most := table.n*fullDen/fullNum*(growth+1)/growth + 2*PageRecords; table.slots() > most {
			t.Fatalf("%d slots for %d records", table.slots(), i+1)
		}
	}
	for keep := uint64(4); keep > 0; keep /= 2 { // half, three quarters, and then all go
		for i := uint32(0); i < table.slots(); {
			if rec := table.at(i); rec.occupied() && (keep == 1 || rec.id.hi%4 >= keep/2) {
				table.remove(i)
			} else {
				i++
			}
		}
		table.shrink()
		checkOrder(t, &table)
		if table.slots() > table.n*2+2*PageRecords {
			t.Fatalf("%d slots for %d records", table.slots(), table.n)
		}
	}
	if len(table.pages) != 0 || len(a.free) != int(a.next) {
		t.Fatalf("%d pages held, %d of %d free", len(table.pages), len(a.free), a.next)
	}
}

// Trap 26: a live key is never evicted, new ones are treated by policy, and room that
// becomes free is used.
func TestTableFull(t *testing.T) {
	for _, whenFull := range []WhenFull{Closed, Open} {
		table, err := NewTable(Config{Partitions: 3, MaxKeys: 2, WhenFull: whenFull})
		if err != nil {
			t.Fatal(err)
		}
		tier, _ := NewTier(TierSpec{Name: "t", Windows: []Window{{1, time.Second}}, Concurrent: 1})
		key := func(i uint64) Key { return Key{PartitionID(i % 3), Identity{i, i << 60}} }
		table.Check(key(1), tier, 1, 0)
		table.Check(key(2), tier, 1, 0)
		d := table.Check(key(3), tier, 1, 0)
		if d.Allowed != (whenFull == Open) || d.Exactness != Degraded || (d.Reason == ReasonTableFull) == d.Allowed {
			t.Errorf("when full %d: %+v", whenFull, d)
		}
		if d := table.Check(key(3), tier, 0, 0); !d.Allowed || d.Exactness != Exact {
			t.Errorf("a peek needs no room: %+v", d)
		}
		if g, err := table.Acquire(&Acquisition{Key: key(3), Tier: tier, TTL: MinTTL}, 0); err != nil || g.Reason != ReasonTableFull || g.Granted {
			t.Errorf("Acquire is always closed: %+v, %v", g, err)
		}
		for i := uint64(1); i <= 2; i++ {
			if d := table.Check(key(i), tier, 1, Instant(time.Second)-1); d.Reason != ReasonRateLimited {
				t.Errorf("key %d was forgotten: %+v", i, d)
			}
		}
		if n := table.Sweep(Instant(time.Second), 1000); n != 2 || table.Keys() != 0 {
			t.Errorf("%d swept, %d left", n, table.Keys())
		}
		if d := table.Check(key(3), tier, 1, Instant(time.Second)); !d.Allowed || d.Exactness != Exact {
			t.Errorf("room is not used: %+v", d)
		}
	}
}

// A sweep that is to look at one place does not look at all partitions if they are empty.
func TestEmptyPartitionsCountInASweep(t *testing.T) {
	table, err := NewTable(Config{Partitions: 100, MaxKeys: 10})
	if err != nil {
		t.Fatal(err)
	}
	for want := range 7 {
		if table.sweepPart != want {
			t.Errorf("sweep %d begins at partition %d", want, table.sweepPart)
		}
		table.Sweep(0, 1)
	}
}
