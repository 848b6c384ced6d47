package ownership

import (
	"testing"

	"github.com/overten/sluice/limiter"
)

// A holder that had dropped a copy, and forgot what that one lacks, still tells one that has
// nearly all just the rest: else what both have would count twice.
func TestRemainderIsToldInTheShortestForm(t *testing.T) {
	last := Stretch{Changes: limiter.Changes{First: 91, Last: 100}}
	gen := Generation{Number: 3, Name: "a", Boot: 1}
	for name, c := range map[string]struct {
		recent []byte
		forms  []form
		firsts []uint64
	}{
		"no copy was dropped": {nil, []form{asChanges, asWhole, asWhole}, []uint64{91, 0, 0}},
		"one was at change 9": {[]byte("since 10"), []form{asChanges, asRecent, asWhole}, []uint64{91, 10, 0}},
	} {
		a := &aside{gen: gen, first: 91, last: 100, changes: []Stretch{last}, recent: c.recent, since: 10, state: []byte("all")}
		for i, want := range c.forms {
			r := a.remainder(&part{})
			if a.form != want || r.First != c.firsts[i] || r.Last != 100 || (r.Changes != nil) != (want == asChanges) || (r.State != nil) != (want != asChanges) {
				t.Errorf("%s: told %d times not to be enough: %d as %+v", name, i, a.form, r)
			}
			a.tellMore()
		}
	}
}
