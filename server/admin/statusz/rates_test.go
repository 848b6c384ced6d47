package statusz

import (
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

const start = limiter.Instant(time.Hour)

func after(d time.Duration) limiter.Instant { return start.Add(d) }

func decided(tier string, allowed, limited uint64) metrics.Decisions {
	d := metrics.Decisions{Tier: tier}
	d.Count[limiter.ReasonNone], d.Count[limiter.ReasonRateLimited] = allowed, limited
	return d
}

func TestRatesOfNothing(t *testing.T) {
	var r Rates
	if m := r.lastMinute(start); len(r.intervals(start)) > 0 || m.over != 0 || m.tiers != nil {
		t.Errorf("before the first sample: %v, %v", r.intervals(start), m)
	}
	r.Sample(start, []metrics.Decisions{decided("pro", 7, 1)})
	if m := r.lastMinute(after(time.Second)); len(r.intervals(start)) > 0 || m.over != 0 || m.ended != time.Second || m.tiers[0] != decided("pro", 0, 0) {
		t.Errorf("one sample tells no rate: %v, %v", r.intervals(start), m)
	}
}

// A rate is what was added over the time that really passed, though a sample came late.
func TestRatesGoByTheTimeThatPassed(t *testing.T) {
	var r Rates
	r.Sample(start, []metrics.Decisions{decided("free", 100, 0)})
	r.Sample(after(5*time.Second), []metrics.Decisions{decided("free", 110, 5), decided("pro", 40, 0)})
	r.Sample(after(25*time.Second), []metrics.Decisions{decided("free", 110, 105), decided("pro", 60, 0)})
	got := r.intervals(after(26 * time.Second))
	if len(got) != 2 {
		t.Fatalf("%d intervals", len(got))
	}
	for i, want := range []struct {
		from, to         time.Duration
		allowed, limited float64
	}{{26 * time.Second, 21 * time.Second, 10, 1}, {21 * time.Second, time.Second, 1, 5}} {
		g := got[i]
		if g.from != want.from || g.to != want.to || g.rate[0] != want.allowed || g.rate[limiter.ReasonRateLimited] != want.limited {
			t.Errorf("interval %d: %+v, want %+v", i, g, want)
		}
	}
	m := r.lastMinute(after(26 * time.Second))
	if m.over != 25*time.Second || m.ended != time.Second || len(m.tiers) != 2 || m.tiers[0] != decided("free", 10, 105) || m.tiers[1] != decided("pro", 60, 0) {
		t.Errorf("the last minute, of which there were 25 s: %+v", m)
	}
}

// However long a node runs: ten minutes are kept, and of tiers one.
func TestRatesAreBounded(t *testing.T) {
	var r Rates
	var now limiter.Instant
	for i := range uint64(1000) {
		now = after(time.Duration(i) * Every)
		r.Sample(now, []metrics.Decisions{decided("pro", 10*i, i)})
	}
	all := r.intervals(now)
	if want := int(Span / Every); len(all) != want || all[0].from != Span || all[0].rate[0] != 2 {
		t.Errorf("%d intervals from %v on, want %d", len(all), all[0].from, want)
	}
	withTiers := 0
	for _, s := range r.samples {
		if s.tiers != nil {
			withTiers++
		}
	}
	if want := int(time.Minute/Every) + 1; withTiers != want {
		t.Errorf("%d samples know tiers, want %d", withTiers, want)
	}
	if m := r.lastMinute(now); m.over != time.Minute || m.tiers[0] != decided("pro", 120, 12) {
		t.Errorf("%+v", m)
	}
	// After a long sleep what was before it is the begin of one interval, and nothing more.
	now = now.Add(time.Hour)
	r.Sample(now, []metrics.Decisions{decided("pro", 99_990, 999)})
	if all := r.intervals(now); len(all) != 1 || all[0].from != time.Hour {
		t.Errorf("after an hour: %+v", all)
	}
	if m := r.lastMinute(now); m.over != time.Hour || m.tiers[0].Count[0] != 90_000 {
		t.Errorf("after an hour: %+v", m)
	}
}

// Samples come a little early or late: the last minute is the nearest to one that there is.
func TestLastMinuteOfSamplesThatJitter(t *testing.T) {
	var r Rates
	var now limiter.Instant
	for i := range 40 {
		now = after(time.Duration(i) * (Every - time.Millisecond))
		r.Sample(now, []metrics.Decisions{decided("pro", uint64(10*i), 0)})
	}
	if m := r.lastMinute(now); m.over != time.Minute-12*time.Millisecond || m.tiers[0].Count[0] != 120 {
		t.Errorf("%+v", m)
	}
}
