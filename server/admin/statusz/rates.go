package statusz

import (
	"slices"
	"sync"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

const (
	// Every is how often Rates wants a sample.
	Every = 5 * time.Second
	// Span is what Rates remembers.
	Span = 10 * time.Minute
)

// counts are decisions by outcome: index 0 is allowed.
type counts = [metrics.Reasons]uint64

// Rates remembers what a node has decided in the last minutes: samples of its counters, whose
// differences are the rates. The zero Rates is ready. It is safe for concurrent use.
type Rates struct {
	mu      sync.Mutex // guards samples
	samples []sample   // the oldest first
}

type sample struct {
	at    limiter.Instant
	all   counts
	tiers []metrics.Decisions // nil once it is older than the minute that is told by tier
}

// Sample takes what the counters are at now, which must not be before that of the last call.
func (r *Rates) Sample(now limiter.Instant, tiers []metrics.Decisions) {
	s := sample{at: now, tiers: tiers}
	for i := range tiers {
		for reason, n := range tiers[i].Count {
			s.all[reason] += n
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, s)
	// What begins within the span is kept, and one sample before it to begin with.
	old := 0
	for old+1 < len(r.samples) && now.Sub(r.samples[old+1].at) >= Span {
		old++
	}
	r.samples = slices.Delete(r.samples, 0, old)
	for i := range r.minuteLocked() {
		r.samples[i].tiers = nil
	}
}

// minuteLocked returns which sample the last minute begins with: the newest that is a minute
// older than the last, give or take half a sample as they do not come to the tick, or the
// first of all.
func (r *Rates) minuteLocked() int {
	begin := len(r.samples) - 1
	for begin > 0 && r.samples[len(r.samples)-1].at.Sub(r.samples[begin].at) < time.Minute-Every/2 {
		begin--
	}
	return begin
}

// An interval is the time between two samples.
type interval struct {
	from, to time.Duration // how long ago it began and ended
	rate     [metrics.Reasons]float64
}

// intervals returns what there is of the last minutes, the oldest first.
func (r *Rates) intervals(now limiter.Instant) []interval {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []interval
	for i := 1; i < len(r.samples); i++ {
		a, b := &r.samples[i-1], &r.samples[i]
		took := b.at.Sub(a.at)
		if took <= 0 {
			continue
		}
		of := interval{from: now.Sub(a.at), to: now.Sub(b.at)}
		for reason := range of.rate {
			of.rate[reason] = float64(b.all[reason]-a.all[reason]) / took.Seconds()
		}
		all = append(all, of)
	}
	return all
}

// A lastMinute is what was decided in it, by tier.
type lastMinute struct {
	over  time.Duration // how long it was: less than a minute after a start, more if samples came late
	ended time.Duration // how long ago
	tiers []metrics.Decisions
}

// lastMinute returns what was decided in the minute before the last sample.
func (r *Rates) lastMinute(now limiter.Instant) (m lastMinute) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) == 0 {
		return m
	}
	begin, end := &r.samples[r.minuteLocked()], &r.samples[len(r.samples)-1]
	m.over, m.ended = end.at.Sub(begin.at), now.Sub(end.at)
	for _, d := range end.tiers {
		// A tier that the older sample lacks has counted from 0 since.
		if i := slices.IndexFunc(begin.tiers, func(b metrics.Decisions) bool { return b.Tier == d.Tier }); i >= 0 {
			for reason, n := range begin.tiers[i].Count {
				d.Count[reason] -= n
			}
		}
		m.tiers = append(m.tiers, d)
	}
	return m
}
