package rpc

import (
	"time"

	"google.golang.org/grpc/status"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// counting counts a call, or a batch of a stream, and what is decided for it.
type counting struct {
	*service
	rules  *rules // that the call goes by
	method metrics.Method
	stripe metrics.Stripe
	now    limiter.Instant // when it began,
	wall   time.Time       // by both clocks
	span   Span            // nil: nobody traces it
	id     string          // the request id, "" as long as nobody asked for it

	tier  *limiter.Tier // whose counts
	of    ofTier        // these are
	tally metrics.Tally
}

func (s *service) begin(method metrics.Method, id string) counting {
	now, wall := s.clock()
	return counting{service: s, rules: s.rules.Load(), method: method, id: id, stripe: metrics.AnyStripe(), now: now, wall: wall}
}

// seek returns what is kept of a tier, which is nil for keys that have none.
func (c *counting) seek(tier *limiter.Tier) ofTier {
	if c.of.counts == nil || tier != c.tier {
		c.tier, c.of = tier, c.rules.seek(tier)
	}
	return c.of
}

// countsOf returns the counts of a tier.
func (c *counting) countsOf(tier *limiter.Tier) *metrics.Tier { return c.seek(tier).counts }

// checked counts a check that was decided, and makes of the decision what is told.
func (c *counting) checked(tier *limiter.Tier, key limiter.Key, d *limiter.Decision) {
	if denied := tier.Shade(d); denied != limiter.ReasonNone {
		c.countsOf(tier).Shadowed(c.stripe, metrics.ShadowedCheck, denied).Add(1)
		c.tellShadow("check", tier, key, denied)
	}
	c.told(tier, d)
}

// told counts a check of which this is told.
func (c *counting) told(tier *limiter.Tier, d *limiter.Decision) {
	c.tally.Add(c.countsOf(tier).Checks(c.stripe, d))
	if !d.Allowed && c.of.denials.due(d.Reason, c.now) {
		c.tellDenial(&denial{reason: d.Reason, wait: d.RetryAfter})
	}
}

// answered counts a check that the cluster decided.
func (c *counting) answered(call *peer.Call, a *peer.Answer) {
	c.checked(call.Of, call.Key, &a.Decision)
	if c.span != nil {
		c.span.Decided(outcomeOf(call.Of, limiter.Cost(call.Cost), &a.Decision, a.Forwarded))
	}
}

// granted counts an acquisition that was decided, and makes of the grant what is told.
func (c *counting) granted(a *limiter.Acquisition, g *limiter.Grant) {
	if denied := g.Reason; g.Granted && denied != limiter.ReasonNone {
		g.Reason = limiter.ReasonNone
		c.countsOf(a.Tier).Shadowed(c.stripe, metrics.ShadowedAcquisition, denied).Add(1)
		c.tellShadow("acquire", a.Tier, a.Key, denied)
	}
	c.tally.Add(c.countsOf(a.Tier).Acquisitions(c.stripe, g.Reason, g.Exactness))
}

// end counts that the call ended so.
func (c *counting) end(err error) {
	c.tally.Flush()
	now, _ := c.clock()
	c.metrics.Called(c.stripe, c.method, status.Code(err), now.Sub(c.now))
	if c.span != nil {
		c.span.End(status.Code(err))
	}
}
