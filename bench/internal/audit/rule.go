package audit

import (
	"slices"
	"time"
)

// A Rule is what the limiter promises for every key.
type Rule struct {
	Limit  uint32        // units in every window
	Window time.Duration // how long a window is
	// Late is by how much a unit may leave its window late: time is counted in quanta,
	// and a history that moves to another node gets older by as much as it cannot tell.
	Late time.Duration
}

// A Count is what the nodes say that they have counted for a key: Used units in the window
// that ended at some time from Asked to Answered.
type Count struct {
	Asked, Answered time.Duration
	Used            uint64
}

// A Loss is what a limiter may forget: what was answered for some keys in a span of time.
type Loss struct {
	Keys     map[int]bool
	From, To time.Duration
}

// A Finding is what is certain of one key, in units.
type Finding struct {
	Key         int
	Over        uint64
	Early       uint64
	Denied      uint64
	Uncounted   uint64 // of at most the limit: what is beyond need not be remembered
	Overcounted uint64
	Excused     uint64 // of Over and of Uncounted, as a Loss allows it
	Degraded    bool   // some answer said so
}

// Judge returns the findings for keys 0 to len(counts)-1.
func (r Rule) Judge(tries []Try, calls []Call, counts []Count, losses []Loss) []Finding {
	triesOf, callsOf := make([][]Try, len(counts)), make([][]Call, len(counts))
	for _, t := range tries {
		triesOf[t.Key] = append(triesOf[t.Key], t)
	}
	for _, c := range calls {
		callsOf[c.Key] = append(callsOf[c.Key], c)
	}
	out := make([]Finding, len(counts))
	for k := range counts {
		tries, calls := triesOf[k], callsOf[k]
		f := Finding{Key: k, Over: r.over(tries)}
		for _, t := range tries {
			f.Degraded = f.Degraded || t.Degraded
			for _, l := range losses {
				if t.Outcome == Allowed && l.Keys[k] && t.Answered >= l.From && t.Answered <= l.To {
					f.Excused += uint64(t.Units)
				}
			}
		}
		f.Early, f.Denied = r.denied(tries, calls)
		f.Uncounted, f.Overcounted = r.miscounted(tries, counts[k])
		out[k] = f
	}
	return out
}

// over is the most units, beyond the limit, that were certainly allowed within one window.
func (r Rule) over(tries []Try) (worst uint64) {
	allowed := slices.DeleteFunc(slices.Clone(tries), func(t Try) bool { return t.Outcome != Allowed })
	slices.SortFunc(allowed, func(a, b Try) int { return int(a.Sent - b.Sent) })
	for i, first := range allowed {
		var units uint64
		for _, t := range allowed[i:] {
			if t.Sent-first.Sent >= r.Window {
				break
			}
			if t.Answered-first.Sent < r.Window {
				units += uint64(t.Units)
			}
		}
		worst = max(worst, beyond(units, uint64(r.Limit)))
	}
	return worst
}

// denied is by how many units the calls of a key were denied too early: by what they had
// been told, and by what may have been counted.
func (r Rule) denied(tries []Try, calls []Call) (early, denied uint64) {
	for _, c := range calls {
		if c.Outcome != Denied {
			continue
		}
		from := c.Began - r.Window - r.Late // what was decided up to then is in no window of this denial
		var told, possible uint64
		for _, o := range calls {
			if o.Outcome == Allowed && o.Began <= c.Ended && o.Ended > from {
				told += uint64(o.Units)
			}
		}
		for _, t := range tries {
			if t.Outcome != Denied && t.Sent <= c.Ended && t.Answered > from {
				possible += uint64(t.Units)
			}
		}
		need := uint64(r.Limit) + 1 // that a denial of these units takes
		early = max(early, beyond(need, told+uint64(c.Units)))
		denied = max(denied, beyond(need, possible+uint64(c.Units)))
	}
	return early, denied
}

// miscounted compares what the nodes have counted with what was allowed and asked.
func (r Rule) miscounted(tries []Try, n Count) (uncounted, overcounted uint64) {
	var certain, possible uint64
	for _, t := range tries {
		if t.Outcome == Allowed && t.Answered <= n.Asked && n.Answered-t.Sent < r.Window {
			certain += uint64(t.Units)
		}
		if t.Outcome != Denied && t.Sent <= n.Answered && t.Answered > n.Asked-r.Window-r.Late {
			possible += uint64(t.Units)
		}
	}
	return beyond(min(certain, uint64(r.Limit)), n.Used), beyond(n.Used, possible)
}

// beyond is by how much a is more than b.
func beyond(a, b uint64) uint64 { return a - min(a, b) }
