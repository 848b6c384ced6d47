package rpc

import (
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/metrics"
)

// rules are a policy, and what calls want to find by it. They are immutable: a call goes by one
// from its beginning to its end.
type rules struct {
	policy    *policy.Policy
	counts    map[*limiter.Tier]*metrics.Tier // of its tiers, and of nil
	tierNames map[uint64]string               // by the hash in lease references
}

func newRules(p *policy.Policy, sealer *limiter.Sealer, counts *metrics.Metrics) *rules {
	tiers := p.Tiers()
	r := &rules{policy: p, counts: make(map[*limiter.Tier]*metrics.Tier, len(tiers)+1), tierNames: make(map[uint64]string, len(tiers))}
	r.counts[nil] = counts.Tier("")
	for _, tier := range tiers {
		r.tierNames[sealer.Tier(tier.Name())] = tier.Name()
		r.counts[tier] = counts.Tier(tier.Name())
	}
	return r
}

// countsOf returns the counts of a tier of the policy. Keys with limits of their own count for the
// tier that these replace.
func (r *rules) countsOf(tier *limiter.Tier) *metrics.Tier {
	if of, ok := r.counts[tier]; ok {
		return of
	}
	named, _ := r.policy.Tier(tier.Name())
	return r.counts[named]
}

// SetPolicy has calls and batches that begin from now on go by p.
func (s *Server) SetPolicy(p *policy.Policy) {
	s.service.rules.Store(newRules(p, s.service.sealer, s.service.metrics))
}
