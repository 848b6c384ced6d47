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
	var s Shift
	for ms := 0; ms < 3000; ms += 100 {
		s.Note(at(ms), at(ms+1))
	}
	s.Note(at(3000), at(3301)) // the sender's clock stood still for 300 ms
	s.answered(at(3300), at(3000))
	if got := s.value(); got < 300*time.Millisecond || got > 302*time.Millisecond {
		t.Errorf("by an answer the difference is %v, want 300ms", got)
	}
	s.Note(at(3_600_000), at(3_600_390)) // an hour later
	if got := s.value(); got < 390*time.Millisecond {
		t.Errorf("after a silence the difference is %v, want 390ms", got)
	}
	s.Note(at(3_600_010), at(3_615_000)) // this node slept
	if got := s.value(); got > 391*time.Millisecond+15*time.Millisecond {
		t.Errorf("after a sleep the difference is %v, want 390ms, and what clocks drift in 15 s", got)
	}
}

// What was copied to a node that slept twice within seconds once expired late by all that it
// slept the second time: the first message that it found then was taken for the end of a long
// silence, as what began its window was said before it had slept first.
func TestShiftIsNotTooLargeAfterTwoSleeps(t *testing.T) {
	at := func(ms int) limiter.Instant {
		return limiter.Instant(time.Hour).Add(time.Duration(ms) * time.Millisecond)
	}
	var s Shift
	hear := func(from, to int, received func(ms int) int) {
		for ms := from; ms < to; ms += 100 {
			s.Note(at(ms), at(received(ms)))
			if got := s.value(); got > 3*time.Millisecond {
				t.Fatalf("at %d ms the difference is %v, want 1ms, and what clocks drift in two seconds", ms, got)
			}
		}
	}
	soon := func(ms int) int { return ms + 1 }
	hear(0, 2900, soon)
	hear(2900, 6100, func(int) int { return 6100 }) // all that was said while it slept, when it wakes
	hear(6100, 7500, soon)
	hear(7500, 11_500, func(int) int { return 11_500 })
}
