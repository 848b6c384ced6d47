package rpc

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// denialEvery is how often the log tells of denials of one tier for one reason.
const denialEvery = time.Second

// denials see to it that the log tells of a tier's denials, and is not filled by them. How many
// there were is known from what is counted anyway, so that a denial costs one atomic load.
type denials struct {
	tier string
	by   [8]struct { // a power of two, as reasons come from other nodes too
		next atomic.Int64  // limiter.Instant: no line before
		told atomic.Uint64 // of all that were counted, how many lines stood for
	}
}

// newDenials returns those of a tier with these counts, of which no line needs to tell any more.
func newDenials(tier string, counts *metrics.Tier) *denials {
	d := &denials{tier: tier}
	for why := range d.by {
		d.by[why].told.Store(counts.Denials(limiter.Reason(why)))
	}
	return d
}

// due tells whether a denial at that time is one that the log tells of. It says so once.
func (d *denials) due(why limiter.Reason, now limiter.Instant) bool {
	next := &d.by[int(why)%len(d.by)].next
	at := next.Load()
	return int64(now) >= at && next.CompareAndSwap(at, int64(now.Add(denialEvery)))
}

// denial is what the log tells of one.
type denial struct {
	reason    limiter.Reason
	wait      time.Duration // 0: no wait helps
	run, task string
}

// tellDenial tells the log of a denial of the tier that was counted last, which was due. It stands
// for those since the last line, but for some that are decided this moment: the next has them.
func (c *counting) tellDenial(d *denial) {
	told := &c.of.denials.by[int(d.reason)%len(c.of.denials.by)].told
	c.tally.Flush()
	counted := c.of.counts.Denials(d.reason)
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("call", c.method.String()), slog.String("tier", c.of.denials.tier),
		slog.String("reason", sluicev1.Reason(d.reason).String()))
	if d.wait > 0 {
		attrs = append(attrs, slog.Duration("retry_after", d.wait))
	}
	for _, id := range [...]struct{ name, value string }{{"request_id", c.id}, {"run_id", d.run}, {"task_id", d.task}} {
		if id.value != "" {
			attrs = append(attrs, slog.String(id.name, id.value))
		}
	}
	attrs = append(attrs, slog.Int64("denials", max(1, int64(counted-told.Swap(counted)))))
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "denied", attrs...)
}
