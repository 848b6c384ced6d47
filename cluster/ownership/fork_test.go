package ownership

import (
	"testing"

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
