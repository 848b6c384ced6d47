package ownership

import (
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// The difference of two clocks was once taken too small for seconds, so that what moved expired
// early: when a peer's clock had stood still, and after a long silence in which clocks drifted.
func TestShiftIsNotTooSmall(t *testing.T) {
	at := func(ms int) limiter.Instant {
		return limiter.Instant(time.Hour).Add(time.Duration(ms) * time.Millisecond)
	}
	var s shift
	for ms := 0; ms < 3000; ms += 100 {
		s.note(at(ms), at(ms+1))
	}
	s.note(at(3000), at(3301)) // the sender's clock stood still for 300 ms
	s.answered(at(3300), at(3000))
	if got := s.value(); got < 300*time.Millisecond || got > 302*time.Millisecond {
		t.Errorf("by an answer the difference is %v, want 300ms", got)
	}
	s.note(at(3_600_000), at(3_600_390)) // an hour later
	if got := s.value(); got < 390*time.Millisecond {
		t.Errorf("after a silence the difference is %v, want 390ms", got)
	}
	s.note(at(3_600_010), at(3_615_000)) // this node slept
	if got := s.value(); got > 391*time.Millisecond {
		t.Errorf("after a sleep the difference is %v, want 390ms", got)
	}
}
