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

	tier  *limiter.Tier // whose counts
	of    *metrics.Tier // these are
	tally metrics.Tally
}

func (s *service) begin(method metrics.Method) counting {
	now, wall := s.clock()
	return counting{service: s, rules: s.rules.Load(), method: method, stripe: metrics.AnyStripe(), now: now, wall: wall}
}

// countsOf returns the counts of a tier, which is nil for keys that have none.
func (c *counting) countsOf(tier *limiter.Tier) *metrics.Tier {
	if c.of == nil || tier != c.tier {
		c.tier, c.of = tier, c.rules.countsOf(tier)
	}
	return c.of
}

// checked counts a check that was decided, and makes of the decision what is told.
func (c *counting) checked(tier *limiter.Tier, key limiter.Key, d *limiter.Decision) {
	if denied := tier.Shade(d); denied != limiter.ReasonNone {
		c.countsOf(tier).Shadowed(c.stripe, metrics.ShadowedCheck, denied).Add(1)
		c.tellShadow("check", tier, key, denied)
	}
	c.tally.Add(c.countsOf(tier).Checks(c.stripe, d))
}

// refused counts a check of a key that may not be used, which no tier lets pass.
func (c *counting) refused(tier *limiter.Tier, d *limiter.Decision) {
	c.tally.Add(c.countsOf(tier).Checks(c.stripe, d))
}

// answered counts a check that another node decided.
func (c *counting) answered(call *peer.Call, d *limiter.Decision) {
	c.checked(call.Of, call.Key, d)
}

// granted counts an acquisition that was decided, and makes of the grant what is told.
func (c *counting) granted(a *limiter.Acquisition, g *limiter.Grant) {
	if denied := g.Reason; g.Granted && denied != limiter.ReasonNone {
		g.Reason = limiter.ReasonNone
		c.countsOf(a.Tier).Shadowed(c.stripe, metrics.ShadowedAcquisition, denied).Add(1)
		c.tellShadow("acquire", a.Tier, a.Key, denied)
	}
	c.acquired(a.Tier, g.Reason, g.Exactness)
}

// acquired counts an acquisition that was decided so.
func (c *counting) acquired(tier *limiter.Tier, reason limiter.Reason, exactness limiter.Exactness) {
	c.tally.Add(c.countsOf(tier).Acquisitions(c.stripe, reason, exactness))
}

// end counts that the call ended so.
func (c *counting) end(err error) {
	c.tally.Flush()
	now, _ := c.clock()
	c.metrics.Called(c.stripe, c.method, status.Code(err), now.Sub(c.now))
}
