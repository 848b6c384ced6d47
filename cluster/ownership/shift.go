package ownership

import (
	"time"

	"github.com/overten/sluice/limiter"
)

const (
	shiftWindow = 2 * time.Second        // the smallest delay of one to two of these counts
	shiftMargin = 100 * time.Microsecond // what clocks of machines that are well may drift apart in that time
	driftMost   = 1000                   // of how long two clocks run, by how much they may differ: NTP slows or hastens each by half of that
)

// A Shift maps another node's clock to ours: by the smallest difference between receiving and
// sending in the last two to four seconds. The zero Shift knows nothing yet.
type Shift struct {
	known    bool
	now, old time.Duration // the smallest of this window and of the one before
	began    limiter.Instant
}

// Note notes a message that was sent by the other's clock, and received by ours.
func (s *Shift) Note(sent, received limiter.Instant) {
	d, passed := received.Sub(sent), received.Sub(s.began)
	switch {
	case !s.known:
		*s = Shift{known: true, now: d, old: d, began: received}
	case passed > shiftWindow:
		// After a silence d alone would not do: one that sleeps finds what was said meanwhile.
		s.old, s.now, s.began = s.now+max(passed-2*shiftWindow, 0)/driftMost, d, received
	default:
		s.now = min(s.now, d)
	}
}

// answered notes a message that answers one of ours, which was sent when it asked: had the way
// there taken no time, this would be the difference, and it is not smaller. That tells that a
// peer's clock stood still, in a guest that was moved.
func (s *Shift) answered(asked, sent limiter.Instant) {
	least := asked.Sub(sent)
	s.now, s.old = max(s.now, least), max(s.old, least)
}

// Least is the smallest difference: the quickest message is taken to have taken no time.
func (s *Shift) Least() time.Duration { return min(s.now, s.old) }

// value is Least and what clocks may have drifted since: never less than the true difference,
// and more by little else than the least time that a message took. What is moved expires late,
// never early.
func (s *Shift) value() time.Duration { return s.Least() + shiftMargin }
