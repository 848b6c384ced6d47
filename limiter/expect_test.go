package limiter

import (
	"fmt"
	"testing"
	"time"
)

// What is expected may be there, have been there, never come, and be decided for meanwhile.
func TestExpectChangesNothing(t *testing.T) {
	tier := mustTier(t, Window{3, time.Second})
	hasher := NewHasher(benchSecrets, 3)
	table := func() *Table {
		table, err := NewTable(Config{Partitions: 3, MaxKeys: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	plain, expecting := table(), table()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10_000 {
			expecting.Expect(hasher.Key(fmt.Sprint(i % 700)))
		}
	}()
	for i := range 10_000 {
		k, now := hasher.Key(fmt.Sprint(i*i%500)), Instant(i)*Instant(time.Millisecond)
		expecting.Expect(k)
		if got, want := expecting.Check(k, tier, 1, now), plain.Check(k, tier, 1, now); got != want {
			t.Fatalf("check %d is decided %+v, without expectation %+v", i, got, want)
		}
		if i%100 == 0 {
			expecting.Sweep(now, 1000)
			plain.Sweep(now, 1000)
		}
	}
	<-done
}

// The key that changes begin with is read where it stands, and nowhere past their end.
func TestFirstIdentityOfChanges(t *testing.T) {
	table := sharedTable(t, Config{})
	table.Permit(0, forEver)
	key := Key{0, Identity{7, 9}}
	tier, err := NewTier(TierSpec{Name: "runs", Windows: []Window{{3, time.Minute}}, Concurrent: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := Instant(time.Hour)
	take := func(do func()) []byte {
		table.Record(0, true)
		do()
		return table.Take(0).Bytes
	}
	cost := Cost(1)
	table.Check(key, tier, 1, now) // so that the tier is known
	hit := take(func() { table.Check(key, tier, 1, now) })
	reset := take(func() { table.Reset(key, now) })
	acquired := take(func() { table.Acquire(&Acquisition{Key: key, Tier: tier, TTL: MinTTL, RunID: "r", Cost: &cost}, now) })
	for name, changes := range map[string][]byte{"hit": hit, "reset": reset, "acquired": acquired} {
		if len(changes) == 0 {
			t.Fatalf("%s: nothing was recorded", name)
		}
		if id, ok := firstIdentity(changes); !ok || id != key.ID {
			t.Errorf("%s: %v, %v", name, id, ok)
		}
		for n := range changes[:len(changes)-1] {
			if id, ok := firstIdentity(changes[:n]); ok && id != key.ID {
				t.Errorf("%s, cut after %d bytes: %v", name, n, id)
			}
		}
	}
	prolonged := take(func() { table.Prolong(0, time.Second) })
	if id, ok := firstIdentity(prolonged); ok {
		t.Errorf("a change that is about no key is about %v", id)
	}
}
