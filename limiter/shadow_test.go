package limiter_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// A shadow tier decides and counts as its twin that is none: what it tells differs in denials only.
func TestAShadowCountsAsItsTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	spec := limiter.TierSpec{Name: "t", Windows: []limiter.Window{{Limit: 5, Per: time.Second}, {Limit: 20, Per: 10 * time.Second}}, Concurrent: 2}
	strict, err := limiter.NewTier(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Shadow = true
	shadow, err := limiter.NewTier(spec)
	if err != nil {
		t.Fatal(err)
	}
	var tables [2]*limiter.Table
	for i := range tables {
		if tables[i], err = limiter.NewTable(limiter.Config{Partitions: 1, MaxKeys: 10, LargestLimit: 20}); err != nil {
			t.Fatal(err)
		}
	}
	now, denials := limiter.Instant(time.Hour), 0
	for range 5000 {
		now = now.Add(time.Duration(random.IntN(400)) * time.Millisecond)
		cost := limiter.Cost(random.IntN(7))
		want := tables[0].Check(limiter.Key{}, strict, cost, now)
		got := tables[1].Check(limiter.Key{}, shadow, cost, now)
		if got != want {
			t.Fatalf("cost %d: %+v, its twin %+v", cost, got, want)
		}
		denied := shadow.Shade(&got)
		if denied != want.Reason || !got.Allowed || got.Reason != limiter.ReasonNone || got.RetryAfter != 0 || got.Remaining == 0 && got.Reset != 0 {
			t.Fatalf("%+v is told as %+v, denied for %d", want, got, denied)
		}
		if denied != limiter.ReasonNone {
			denials++
		}
		if before := want; strict.Shade(&want) != limiter.ReasonNone || want != before {
			t.Fatalf("a tier that is no shadow tells %+v of %+v", want, before)
		}
	}
	if denials < 500 {
		t.Errorf("only %d would have been denied", denials)
	}
}

// A run beyond the limit of a shadow tier gets its lease and takes nothing of the windows.
func TestAShadowGrantsRunsBeyondItsLimit(t *testing.T) {
	table, err := limiter.NewTable(limiter.Config{Partitions: 1, MaxKeys: 10, LargestLimit: 3})
	if err != nil {
		t.Fatal(err)
	}
	spec := limiter.TierSpec{Name: "t", Windows: []limiter.Window{{Limit: 3, Per: time.Minute}}, Concurrent: 2}
	strict, _ := limiter.NewTier(spec)
	spec.Shadow = true
	shadow, err := limiter.NewTier(spec)
	if err != nil {
		t.Fatal(err)
	}
	now, cost := limiter.Instant(time.Hour), limiter.Cost(1)
	acquire := func(tier *limiter.Tier, run uint64) limiter.Grant {
		g, err := table.Acquire(&limiter.Acquisition{
			Tier: tier, Run: limiter.RunHashOf(1, run), TTL: time.Minute, Nonce: run, Cost: &cost,
		}, now)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for run := uint64(1); run <= 4; run++ {
		g := acquire(shadow, run)
		if why := g.Reason; !g.Granted || !g.Decision.Allowed || g.InUse != uint32(run) || (why == limiter.ReasonConcurrencyLimited) != (run > 2) {
			t.Errorf("run %d: %+v", run, g)
		}
	}
	if d := table.Check(limiter.Key{}, strict, 0, now); d.Remaining != 1 {
		t.Errorf("%d remain, want 1: only two runs were within the limit", d.Remaining)
	}
	if g := acquire(strict, 5); g.Granted || g.InUse != 4 {
		t.Errorf("a run when the tier is no shadow any more: %+v", g)
	}
}
