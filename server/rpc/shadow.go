package rpc

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// shadows sees to it that the log tells of what shadow tiers would have denied, and is not filled
// by it: one line a second.
type shadows struct {
	next   atomic.Int64 // limiter.Instant: no line before
	untold atomic.Int64 // since the last line
}

const shadowEvery = time.Second

// tellShadow tells the log that a shadow tier would have denied a call, or counts it for the next
// line.
func (c *counting) tellShadow(call string, tier *limiter.Tier, key limiter.Key, why limiter.Reason) {
	s := &c.shadows
	next := s.next.Load()
	if int64(c.now) < next || !s.next.CompareAndSwap(next, int64(c.now.Add(shadowEvery))) {
		s.untold.Add(1)
		return
	}
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "a shadow tier would have denied", slog.String("call", call),
		slog.String("tier", tier.Name()), slog.String("reason", sluicev1.Reason(why).String()),
		slog.String("identity", key.ID.String()), slog.Int64("more", s.untold.Swap(0)))
}
