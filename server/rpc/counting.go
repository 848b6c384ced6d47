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
	return counting{service: s, method: method, stripe: metrics.AnyStripe(), now: now, wall: wall}
}

// countsOf returns the counts of a tier, which is nil for keys that have none.
func (c *counting) countsOf(tier *limiter.Tier) *metrics.Tier {
	if c.of == nil || tier != c.tier {
		c.tier, c.of = tier, c.counts[tier]
	}
	return c.of
}

// checked counts a check that was decided.
func (c *counting) checked(tier *limiter.Tier, d *limiter.Decision) {
	c.tally.Add(c.countsOf(tier).Checks(c.stripe, d))
}

// answered counts a check that another node decided.
func (c *counting) answered(call *peer.Call, d *limiter.Decision) {
	tier, _ := c.policy.Tier(call.Tier)
	c.checked(tier, d)
}

// acquired counts an acquisition that was decided.
func (c *counting) acquired(tier *limiter.Tier, reason limiter.Reason, exactness limiter.Exactness) {
	c.tally.Add(c.countsOf(tier).Acquisitions(c.stripe, reason, exactness))
}

// end counts that the call ended so.
func (c *counting) end(err error) {
	c.tally.Flush()
	now, _ := c.clock()
	c.metrics.Called(c.stripe, c.method, status.Code(err), now.Sub(c.now))
}
