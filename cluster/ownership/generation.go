package ownership

import (
	"cmp"
	"fmt"
	"slices"
)

// A Generation names one holding of a partition: the number grows each time holding
// starts anew, and the holder tells generations of one number apart.
type Generation struct {
	Number uint64
	Name   string // of the holder
	Boot   uint64 // of the holder
}

// Compare orders generations: of two holders of a partition the later one holds.
func (g Generation) Compare(o Generation) int {
	return cmp.Or(cmp.Compare(g.Number, o.Number), cmp.Compare(g.Name, o.Name), cmp.Compare(g.Boot, o.Boot))
}

// After tells whether g is later than o.
func (g Generation) After(o Generation) bool { return g.Compare(o) > 0 }

// String returns the generation for people.
func (g Generation) String() string {
	if g == (Generation{}) {
		return "none"
	}
	return fmt.Sprintf("%d@%s", g.Number, g.Name)
}

// A Position says how far a state has come: it has all changes of generation Gen up to
// number Seq, and what Gen began with.
type Position struct {
	Gen Generation
	Seq uint64
}

// Compare orders positions by freshness.
func (p Position) Compare(o Position) int {
	return cmp.Or(p.Gen.Compare(o.Gen), cmp.Compare(p.Seq, o.Seq))
}

// marks are what a state has of each generation: all changes up to a number. They tell
// what is missing from it when a former holder turns up with changes of its own.
type marks []Position

// maxMarks bounds the marks of a partition. Whoever comes back after so many changes
// of the holder is taken as one without a common past.
const maxMarks = 64

// of returns the last change that the state has of g; known is false if it has nothing
// of g at all.
func (m marks) of(g Generation) (seq uint64, known bool) {
	for _, p := range m {
		if p.Gen == g {
			return p.Seq, true
		}
	}
	return 0, false
}

// add notes that the state has the changes of at.Gen up to at.Seq.
func (m *marks) add(at Position) {
	if at.Gen == (Generation{}) {
		return
	}
	for i := range *m {
		if (*m)[i].Gen == at.Gen {
			(*m)[i].Seq = max((*m)[i].Seq, at.Seq)
			return
		}
	}
	*m = append(*m, at)
	if len(*m) > maxMarks {
		slices.SortFunc(*m, func(a, b Position) int { return b.Compare(a) })
		*m = (*m)[:maxMarks]
	}
}
