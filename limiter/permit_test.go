package limiter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Nothing is decided, nor changed, without a permit or while copies are behind.
func TestUndecided(t *testing.T) {
	table := sharedTable(t, Config{MaxBehind: 10 * time.Millisecond})
	key, tier := Key{0, Identity{1, 1}}, mustTier(t, Window{100, time.Minute})
	now := Instant(time.Hour)
	undecided := func(when string) {
		t.Helper()
		before, last := table.partitions[0].append(nil, 0, 0), table.partitions[0].lastChange()
		d := table.Check(key, tier, 1, now)
		if until, _ := table.PermitOf(0); d != (Decision{Permit: until}) {
			t.Errorf("%s: %+v", when, d)
		}
		if d, states := table.Explain(key, tier, 1, now); d.Exactness != Undecided || states != nil {
			t.Errorf("%s: explained as %+v", when, d)
		}
		_, err1 := table.Acquire(&Acquisition{Key: key, Tier: tier, TTL: MinTTL}, now)
		_, err2 := table.Renew(LeaseRef{Key: key}, MinTTL, tier, now)
		_, err3 := table.Release(LeaseRef{Key: key}, now)
		_, err4 := table.Reset(key, now)
		for _, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, ErrUndecided) {
				t.Errorf("%s: %v", when, err)
			}
		}
		if string(table.partitions[0].append(nil, 0, 0)) != string(before) || table.partitions[0].lastChange() != last {
			t.Errorf("%s: something changed", when)
		}
	}
	undecided("before the first permit")
	table.Permit(0, now+5)
	table.Record(0, true)
	if d := table.Check(key, tier, 1, now+4); !d.Allowed || d.Permit != now+5 {
		t.Errorf("permitted: %+v", d)
	}
	now += 5
	undecided("at the end of a permit")
	table.Permit(0, forEver)
	now = Instant(time.Hour) + 4 + Instant(10*time.Millisecond)
	if d := table.Check(key, tier, 1, now); !d.Allowed {
		t.Errorf("10 ms behind: %+v", d)
	}
	now++
	undecided("more than 10 ms behind")
	if c := table.Take(0); c.Since != Instant(time.Hour)+4 || c.Last != 3 {
		t.Errorf("taken: %+v", c)
	}
	if d := table.Check(key, tier, 1, now); !d.Allowed {
		t.Errorf("after the changes were taken: %+v", d)
	}
	if last := table.Permit(0, 0); last != 4 {
		t.Errorf("the last change is %d, want 4", last)
	}
	undecided("after the permit was taken away")
	if d := table.Check(Key{1, Identity{}}, tier, 1, now); d.Exactness != Undecided {
		t.Errorf("another partition: %+v", d)
	}
}

// Whoever waits is woken once for all that there is to take, and again for what comes after.
func TestWakeAndDirty(t *testing.T) {
	woken := 0
	table := sharedTable(t, Config{Wake: func() { woken++ }})
	tier := mustTier(t, Window{2, time.Minute})
	for p := range PartitionID(2) {
		table.Permit(p, forEver)
		table.Record(p, true)
	}
	hit := func(p PartitionID) { table.Check(Key{p, Identity{uint64(p), 1}}, tier, 1, Instant(time.Hour)) }
	expect := func(when string, wakes int, dirty ...PartitionID) {
		t.Helper()
		if got := table.Dirty(nil); woken != wakes || fmt.Sprint(got) != fmt.Sprint(dirty) {
			t.Errorf("%s: woken %d times, dirty %v, want %d and %v", when, woken, got, wakes, dirty)
		}
	}
	expect("at first", 0)
	hit(1)
	hit(0)
	hit(1)
	expect("after hits", 1, 0, 1)
	expect("at once again", 1)
	table.Take(0)
	table.Take(1)
	hit(1) // denied
	expect("after a denial", 1)
	hit(0)
	expect("after one more", 2, 0)
	hit(1)
	table.Record(0, true)
	table.Record(1, false)
	if c := table.Take(0); c.Last != 0 {
		t.Errorf("recording anew kept %+v", c)
	}
	table.Check(Key{0, Identity{7, 7}}, tier, 1, Instant(time.Hour))
	expect("recorded anew", 3, 0)
	if c := table.Take(0); c.First != 1 || c.Last != 1 {
		t.Errorf("recorded anew: %+v", c)
	}
}

// Whoever takes only when woken misses nothing, however many decide meanwhile.
func TestNoChangeIsLeftWithoutAWake(t *testing.T) {
	wake := make(chan struct{}, 1)
	holder, follower := sharedTable(t, Config{Wake: func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}}), sharedTable(t, Config{})
	for p := range PartitionID(2) {
		holder.Permit(p, forEver)
		holder.Record(p, true)
	}
	tier := mustTier(t, Window{MaxLimit, time.Hour})
	var clock atomic.Int64
	clock.Store(int64(time.Hour))
	final := make(chan [2]uint64)
	go func() {
		var wg sync.WaitGroup
		for seed := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, 1))
				for range 3000 {
					n := r.Uint64N(8)
					holder.Check(Key{PartitionID(n % 2), Identity{n, n << 60}}, tier, 1, Instant(clock.Add(1000)))
				}
			})
		}
		wg.Wait()
		final <- [2]uint64{holder.Permit(0, 0), holder.Permit(1, 0)}
	}()
	deadline := time.After(time.Minute)
	var have, want [2]uint64
	for want[0] == 0 || have != want {
		select {
		case want = <-final:
		case <-wake:
			for _, p := range holder.Dirty(nil) {
				c := holder.Take(p)
				if c.Last == 0 {
					continue // it was marked again before it was taken
				}
				if c.First != have[p]+1 {
					t.Fatalf("changes from %d follow %d", c.First, have[p])
				}
				if err := follower.Apply(p, c.Bytes, 0, maxInstant); err != nil {
					t.Fatal(err)
				}
				have[p] = c.Last
			}
		case <-deadline:
			t.Fatalf("there are changes up to %d, no wake after %d", want, have)
		}
	}
}

// What changes in a pause is one change that is never taken; recording goes on behind it.
func TestPausedChangesShareANumber(t *testing.T) {
	table := sharedTable(t, Config{LargestLimit: 100})
	tier := mustTier(t, Window{100, time.Minute})
	now := Instant(time.Hour)
	table.Record(0, true)
	table.Permit(0, forEver)
	hit := func() { table.Check(Key{0, Identity{1, 1}}, tier, 1, now) }
	hit() // 1, not taken
	if last := table.Pause(0, true); last != 2 {
		t.Errorf("the pause is change %d, want 2", last)
	}
	hit()
	hit()
	if c := table.Take(0); c.Last != 0 {
		t.Errorf("in the pause changes %d to %d can be taken", c.First, c.Last)
	}
	if last := table.Pause(0, false); last != 2 {
		t.Errorf("after the pause the last change is %d, want 2", last)
	}
	hit()
	if c := table.Take(0); c.First != 3 || c.Last != 3 {
		t.Errorf("changes %d to %d were recorded after the pause, want 3 alone", c.First, c.Last)
	}
	if d := table.Check(Key{0, Identity{1, 1}}, tier, 0, now); d.Remaining != 96 {
		t.Errorf("%d units remain, want 96: a pause forgets no hit", d.Remaining)
	}
	table.Pause(0, true)
	table.Record(0, true)
	if hit(); table.Pause(0, false) != 1 {
		t.Error("recording that begins anew does not begin with change 1")
	}
}
