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
