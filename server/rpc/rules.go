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
	tiers     map[*limiter.Tier]ofTier // its tiers, and nil
	tierNames map[uint64]string        // by the hash in lease references
}

// ofTier is what is kept of a tier, by its name, from one policy to the next.
type ofTier struct {
	counts  *metrics.Tier
	denials *denials
}

// newRules returns the rules of a policy. old are those before, nil if there are none.
func newRules(p *policy.Policy, sealer *limiter.Sealer, counts *metrics.Metrics, old *rules) *rules {
	tiers := p.Tiers()
	r := &rules{policy: p, tiers: make(map[*limiter.Tier]ofTier, len(tiers)+1), tierNames: make(map[uint64]string, len(tiers))}
	kept := make(map[string]*denials)
	if old != nil {
		for _, of := range old.tiers {
			kept[of.denials.tier] = of.denials
		}
	}
	add := func(tier *limiter.Tier, name string) {
		of := ofTier{counts.Tier(name), kept[name]}
		if of.denials == nil {
			of.denials = newDenials(name, of.counts)
		}
		r.tiers[tier] = of
	}
	add(nil, "")
	for _, tier := range tiers {
		r.tierNames[sealer.Tier(tier.Name())] = tier.Name()
		add(tier, tier.Name())
	}
	return r
}

// seek returns what is kept of a tier of the policy. Keys with limits of their own count for the
// tier that these replace.
func (r *rules) seek(tier *limiter.Tier) ofTier {
	if of, ok := r.tiers[tier]; ok {
		return of
	}
	named, _ := r.policy.Tier(tier.Name())
	return r.tiers[named]
}

// SetPolicy has calls and batches that begin from now on go by p.
func (s *Server) SetPolicy(p *policy.Policy) {
	s.service.rules.Store(newRules(p, s.service.sealer, s.service.metrics, s.service.rules.Load()))
}
