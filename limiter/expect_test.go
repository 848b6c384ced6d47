package limiter

import (
	"fmt"
	"slices"
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

// The keys of changes are read where they stand, and nowhere past their end.
func TestIdentitiesOfChanges(t *testing.T) {
	table := sharedTable(t, Config{})
	table.Permit(0, forEver)
	one, other := Key{0, Identity{7, 9}}, Key{0, Identity{1 << 63, 300}}
	tier, err := NewTier(TierSpec{Name: "runs", Windows: []Window{{300, time.Minute}}, Concurrent: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := Instant(time.Hour)
	take := func(do ...func()) []byte {
		table.Record(0, true)
		for _, do := range do {
			do()
		}
		return table.Take(0).Bytes
	}
	cost := Cost(1)
	table.Check(one, tier, 1, now) // so that the tier is known
	hit := func(k Key) func() { return func() { table.Check(k, tier, 130, now) } }
	reset := func() { table.Reset(one, now) }
	acquired := func() { table.Acquire(&Acquisition{Key: one, Tier: tier, TTL: MinTTL, RunID: "r", Cost: &cost}, now) }
	prolonged := func() { table.Prolong(0, time.Second, now) }
	later := func() { now = now.Add(20 * time.Second) }
	for name, c := range map[string]struct {
		changes []byte
		ids     []Identity
	}{
		"a hit":    {take(hit(one)), []Identity{one.ID}},
		"hits":     {take(hit(one), later, hit(other), reset, hit(one)), []Identity{one.ID, other.ID, one.ID}},
		"reset":    {take(reset, hit(other)), []Identity{one.ID}},
		"acquired": {take(acquired), []Identity{one.ID, one.ID}},
		"no key":   {take(prolonged, hit(one)), nil},
		"nothing":  {nil, nil},
	} {
		if got := identitiesOf(c.changes); !slices.Equal(got, c.ids) {
			t.Errorf("%s: %v, want %v", name, got, c.ids)
		}
		for n := range c.changes {
			if got := identitiesOf(c.changes[:n]); len(got) > len(c.ids) || !slices.Equal(got, c.ids[:len(got)]) {
				t.Errorf("%s, cut after %d bytes: %v", name, n, got)
			}
			table.ExpectChanges(0, c.changes[:n])
		}
	}
}

func identitiesOf(changes []byte) (ids []Identity) {
	b := pastHead(changes)
	for {
		id, rest, ok := nextIdentity(b)
		if !ok {
			return ids
		}
		ids, b = append(ids, id), rest
	}
}
