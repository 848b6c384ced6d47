package ownership

import (
	"testing"
	"time"

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

// large is a table whose states are large, and counts those that are copied.
type large struct {
	*limiter.Table
	copied int
}

func (l *large) Snapshot([]byte, limiter.PartitionID, limiter.Instant) ([]byte, uint64) {
	l.copied++
	return make([]byte, maxRemainderBytes/4), 0
}

// asides returns a machine that has set aside the whole states of so many partitions, which are in its
// store, for node b.
func asides(t *testing.T, partitions int) (*Machine, *large) {
	t.Helper()
	table, err := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: 10, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	store := &large{Table: table}
	m := New(Config{Name: "a", Boot: 1, Partitions: partitions, Store: store, Start: limiter.Instant(time.Hour)})
	m.meet("b", 1).heard = m.now
	for i := range m.parts {
		pt := &m.parts[i]
		pt.complete, pt.at = true, Position{Generation{Number: 3, Name: "a", Boot: 1}, 100}
		pt.holder = claim{name: "b", heard: m.now}
		pt.aside = &aside{gen: pt.at.Gen, first: 101, last: 100, form: asWhole}
	}
	return m, store
}

// What has no room among what is under way stays in the store: a node once copied all its states at one
// moment.
func TestStatesThatCannotGoYetAreNotCopied(t *testing.T) {
	m, store := asides(t, 20)
	m.countUnderWay()
	for i := range m.parts {
		m.sendAside(&m.parts[i])
	}
	if n := len(m.out.frame("b").Remainders); n != 4 || store.copied > n+1 {
		t.Errorf("%d states go, and %d were copied", n, store.copied)
	}
}

// A holder that began with exactly what a node had set aside has it, and all of it. If it is not the
// latest, that one is still to be told: the two may not know each other, and the asker die.
func TestWhatTheNextBeganWithIsNotTold(t *testing.T) {
	m, store := asides(t, 3)
	p := m.peers["b"]
	m.parts[2].known = Generation{Number: 7, Name: "c", Boot: 1}
	m.asked(p, m.now, &Ask{Partition: 0, Number: 4, Parent: m.parts[0].at, Copy: true})
	m.asked(p, m.now, &Ask{Partition: 1, Number: 4, Parent: Position{m.parts[1].at.Gen, 99}, Copy: true})
	if m.parts[0].aside != nil || m.parts[1].aside == nil || store.copied > 0 {
		t.Errorf("the first is kept: %v, the second: %v, copied %d", m.parts[0].aside != nil, m.parts[1].aside != nil, store.copied)
	}
	m.asked(p, m.now, &Ask{Partition: 2, Number: 4, Parent: m.parts[2].at, Copy: true})
	if a := m.parts[2].aside; a == nil || a.state == nil {
		t.Error("what the latest holder lacks is kept no longer, or in a state that will change")
	}
}

// Remainders that a node never takes go in turn with those that it would take.
func TestRemaindersGoInTurn(t *testing.T) {
	m, _ := asides(t, 24) // of which four fill all that may be under way
	p := m.peers["b"]
	for end := m.now.Add(time.Minute); m.now < end; m.now = m.now.Add(TickEvery) {
		p.heard = m.now
		m.countUnderWay()
		for i := range m.parts {
			m.sendAside(&m.parts[i])
		}
	}
	for i := range m.parts {
		if n := m.parts[i].aside.times; n < 3 {
			t.Errorf("in a minute remainder %d was sent %d times", i, n)
		}
	}
}
