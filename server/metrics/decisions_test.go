package metrics

import (
	"slices"
	"testing"

	"github.com/overten/sluice/limiter"
)

// Decisions add up checks and acquisitions of all stripes and degrees of exactness.
func TestDecisionsAddUp(t *testing.T) {
	m := New()
	for s := range Stripe(stripes) {
		m.Tier("pro").Checks(s, &limiter.Decision{Exactness: limiter.Exact}).Add(1)
		m.Tier("pro").Checks(s, &limiter.Decision{Exactness: limiter.Degraded}).Add(1)
		m.Tier("pro").Acquisitions(s, limiter.ReasonConcurrencyLimited, limiter.Exact).Add(2)
	}
	m.Tier("").Checks(0, &limiter.Decision{Reason: limiter.ReasonKeyUnknown}).Add(3)
	pro := Decisions{Tier: "pro"}
	pro.Count[0], pro.Count[limiter.ReasonConcurrencyLimited] = 2*stripes, 2*stripes
	none := Decisions{}
	none.Count[limiter.ReasonKeyUnknown] = 3
	if got, want := m.Decisions(), []Decisions{none, pro}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for r := range Reasons {
		if ReasonName(limiter.Reason(r)) == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}
