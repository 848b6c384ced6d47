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
		since  uint64
		forms  []form
		firsts []uint64
	}{
		"no copy was dropped": {0, []form{asChanges, asWhole, asWhole}, []uint64{91, 0, 0}},
		"one was at change 9": {10, []form{asChanges, asRecent, asWhole}, []uint64{91, 10, 0}},
	} {
		a := &aside{gen: gen, first: 91, last: 100, changes: []Stretch{last}, recent: []byte("since 10"), since: c.since, state: []byte("all")}
		for i, want := range c.forms {
			r := a.remainder(&part{})
			if a.form != want || r.First != c.firsts[i] || r.Last != 100 || (r.Changes != nil) != (want == asChanges) || (r.State != nil) != (want != asChanges) {
				t.Errorf("%s: told %d times not to be enough: %d as %+v", name, i, a.form, r)
			}
			a.tellMore()
		}
	}
}

// An answer that comes twice asks for more once: the whole state, told too soon, would count
// what both have twice.
func TestAnswerThatComesTwiceAsksForMoreOnce(t *testing.T) {
	m := New(Config{Name: "a", Partitions: 1})
	gen := Generation{Number: 3, Name: "a", Boot: 1}
	a := &aside{gen: gen, first: 91, last: 100, recent: []byte("since 10"), since: 10, state: []byte("all")}
	m.parts[0].aside = a
	answer := Taken{Gen: gen, First: 91, Last: 100, Whole: true}
	m.taken(&answer)
	m.taken(&answer)
	if a.form != asRecent {
		t.Errorf("told as %d, want %d", a.form, asRecent)
	}
	m.taken(&Taken{Gen: gen, First: 10, Last: 100})
	if m.parts[0].aside != nil {
		t.Error("what was taken is kept")
	}
}

// A holder tells also that it cannot take what it set aside itself.
func TestOwnRemainderThatIsNotTakenIsTold(t *testing.T) {
	table, err := limiter.NewTable(limiter.Config{Partitions: 1, MaxKeys: 10, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	m := New(Config{Name: "a", Partitions: 1, Store: table, Rejected: func(_ limiter.PartitionID, from string, _ error) { told = from }})
	pt := &m.parts[0]
	pt.hold = new(holding)
	pt.aside = &aside{gen: Generation{Number: 3, Name: "a", Boot: 1}, last: 100, form: asWhole, state: []byte("garbled")}
	m.keepAside(pt)
	if told != "a" || pt.aside == nil {
		t.Errorf("told of %q, kept: %v", told, pt.aside != nil)
	}
}
