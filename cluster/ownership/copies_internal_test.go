package ownership

import (
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// What a dropped copy lacks is as old as the first change that it lacks, unless a remainder is among
// it, whose hits may have any age.
func TestOldestLacking(t *testing.T) {
	own := func(first, last uint64, since limiter.Instant) Stretch {
		return Stretch{Changes: limiter.Changes{First: first, Last: last, Since: since}}
	}
	merged := own(6, 6, 120)
	merged.Mark = Position{Gen: Generation{Number: 3, Name: "x", Boot: 1}, Seq: 9}
	for name, c := range map[string]struct {
		log  []Stretch
		want limiter.Instant
	}{
		"nothing":                {[]Stretch{own(1, 3, 100)}, 200},
		"changes of the holder":  {[]Stretch{own(1, 3, 100), own(4, 5, 110), own(6, 6, 120)}, 110},
		"a remainder among them": {[]Stretch{own(1, 3, 100), own(4, 5, 110), merged}, 0},
	} {
		h := &holding{log: c.log, first: 1, last: c.log[len(c.log)-1].Last}
		if got := h.oldestLacking(&copyOf{acked: 3}, 200); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A state is not given up while it may be on its way: one of 80 MiB takes longer than a small one, and
// sent again it would be on its way for ever.
func TestALargeStateHasTimeToArrive(t *testing.T) {
	m := New(Config{Name: "a", Partitions: 1})
	m.peers["b"] = &peer{name: "b"}
	for flight, most := range map[int]time.Duration{1 << 10: installMost, 80 << 20: 22 * time.Second} {
		m.now = limiter.Instant(time.Hour)
		c := &copyOf{name: "b", state: installing, flight: flight, progress: m.now}
		pt := &m.parts[0]
		pt.hold = &holding{copies: []*copyOf{c}}
		m.now = m.now.Add(most - time.Millisecond)
		if m.feed(pt); c.state != installing {
			t.Errorf("%d bytes were given up within %v", flight, most)
		}
		m.now = m.now.Add(time.Second)
		if m.feed(pt); c.state != asking {
			t.Errorf("%d bytes are still waited for after %v", flight, most)
		}
	}
}
