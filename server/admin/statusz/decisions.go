package statusz

import (
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// decisions are what this node has decided of late.
type decisions struct {
	Since, Ended    string // for how long it has been looked at, and until how long ago
	Allowed, Denied chart
	Over            string      // how long the last minute was
	Columns         []string    // outcomes that came, allowed first
	Tiers           []tierCount // that anybody asked for
}

// A tierCount is what was decided in one tier.
type tierCount struct {
	Tier   string
	Count  []uint64 // by column
	Denied float64  // percent
}

func (p *page) decisions(now limiter.Instant) decisions {
	all, last := p.node.Rates.intervals(now), p.node.Rates.lastMinute(now)
	d := decisions{Allowed: drawChart(all, 0, 0), Denied: drawChart(all, 1, metrics.Reasons-1), Over: brief(last.over.Round(time.Second)), Ended: brief(last.ended)}
	if len(all) > 0 {
		d.Since = brief(min(all[0].from, Span))
	}
	d.Allowed.Label, d.Denied.Label = "Allowed per second in the last ten minutes", "Denied per second, by reason, in the last ten minutes"
	came := []int{0}
	for reason := 1; reason < metrics.Reasons; reason++ {
		for _, t := range last.tiers {
			if t.Count[reason] > 0 {
				came = append(came, reason)
				break
			}
		}
	}
	for _, reason := range came {
		d.Columns = append(d.Columns, reasonWords(reason))
	}
	for _, t := range last.tiers {
		row := tierCount{Tier: t.Tier}
		var sum uint64
		for _, n := range t.Count {
			sum += n
		}
		for _, reason := range came {
			row.Count = append(row.Count, t.Count[reason])
		}
		if sum == 0 && t.Tier == "" {
			continue // there are no such keys
		}
		if sum > 0 {
			row.Denied = 100 * float64(sum-t.Count[0]) / float64(sum)
		}
		d.Tiers = append(d.Tiers, row)
	}
	return d
}
