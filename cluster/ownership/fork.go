package ownership

import (
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// fork is where a copy was dropped that may have become a holder elsewhere.
type fork struct {
	acked uint64          // the last change that it is known to have
	at    limiter.Instant // when the first that it lacks was decided, or before
	until limiter.Instant // how long this matters
	cut   bool            // changes after acked are no longer in the log
}

// A copy that was dropped keeps the log so long that all it lacks can be told exactly,
// up to so many bytes of a partition.
const maxForkLog = 256 << 10

// trim forgets the changes that every copy has, but not those that a dropped one lacks.
func (m *Machine) trim(pt *part) {
	h := pt.hold
	keep := h.last
	for _, c := range h.copies {
		if c.state >= installing || c.registered {
			keep = min(keep, c.acked)
		}
	}
	if f := h.fork; f != nil {
		switch {
		case m.now > f.until:
			h.fork = nil
		case !f.cut && h.logBytes > maxForkLog:
			f.cut = true
		case !f.cut:
			keep = min(keep, f.acked)
		}
	}
	n := 0
	for n < len(h.log) && h.log[n].Last <= keep {
		h.logBytes -= h.log[n].size()
		n++
	}
	if n > 0 {
		h.log = slices.Delete(h.log, 0, n)
		h.first = h.last + 1
		if len(h.log) > 0 {
			h.first = h.log[0].First
		}
	}
}

// oldestLacking returns when the first hit that c lacks may have been decided. Those of a remainder
// are older than when they were taken: then it is 0.
func (h *holding) oldestLacking(c *copyOf, now limiter.Instant) limiter.Instant {
	oldest := now
	for _, l := range h.log[h.after(c.acked):] {
		if l.Mark != (Position{}) {
			return 0
		}
		oldest = min(oldest, l.Since)
	}
	return oldest
}

// forget removes a copy that was dropped. It may yet become a holder, elsewhere: what it
// lacks must be known for as long as it counts.
func (m *Machine) forget(pt *part, c *copyOf) {
	h := pt.hold
	m.take(pt) // what c lacks must be in the log
	m.landed(c)
	for i := range h.copies {
		if h.copies[i] == c {
			h.copies = append(h.copies[:i], h.copies[i+1:]...)
			break
		}
	}
	m.note(pt, "drops the copy of %s, which had %d of %d", c.name, c.acked, h.last)
	f := &fork{acked: c.acked, at: h.oldestLacking(c, m.now), until: m.now.Add(m.Horizon + time.Minute)}
	if was := h.fork; was != nil {
		f.at = min(f.at, was.at)
		if was.acked < f.acked {
			f.acked, f.cut = was.acked, was.cut
		}
	}
	h.fork = f
}
