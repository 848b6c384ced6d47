package metrics

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/overten/sluice/limiter"
)

// Reasons is how many outcomes of a decision are told apart: index 0 is allowed.
const Reasons = int(limiter.ReasonTableFull) + 1

// Decisions are the checks and acquisitions that were decided for callers of this node in one
// tier since it started, by outcome.
type Decisions struct {
	Tier  string // "": keys that have none
	Count [Reasons]uint64
}

// Decisions returns those of all tiers, by the names of the tiers. They only grow.
func (m *Metrics) Decisions() []Decisions {
	var all []Decisions
	for name, t := range m.allTiers() {
		d := Decisions{Tier: name}
		for r := range d.Count {
			for e := range degrees {
				d.Count[r] += add(func(s Stripe) *atomic.Uint64 { return &t.each[s].checks[r][e] })
				d.Count[r] += add(func(s Stripe) *atomic.Uint64 { return &t.each[s].acquisitions[r][e] })
			}
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Decisions) int { return strings.Compare(a.Tier, b.Tier) })
	return all
}
