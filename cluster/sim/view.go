package sim

import (
	"fmt"
	"slices"

	"github.com/overten/sluice/cluster/ring"
)

// viewOf gives each partition to the member with the highest hash, and the next highest is
// its successor: the same for the same members, and stable as members come and go.
func (w *world) viewOf(members []ring.Member) *ring.View {
	owners, successors := make([]string, w.partitions), make([]string, w.partitions)
	for p := range w.partitions {
		type score struct {
			name string
			of   uint64
		}
		var scores []score
		for _, m := range members {
			if !m.Draining {
				h := uint64(p+1) * 0x9e3779b97f4a7c15
				for _, c := range m.Name {
					h = (h ^ uint64(c)) * 0x100000001b3
					h ^= h >> 29
				}
				scores = append(scores, score{m.Name, h})
			}
		}
		slices.SortFunc(scores, func(a, b score) int {
			if a.of > b.of {
				return -1
			}
			return 1
		})
		if len(scores) > 0 {
			owners[p] = scores[0].name
		}
		if len(scores) > 1 {
			successors[p] = scores[1].name
		}
	}
	v, err := ring.Of(members, owners, successors)
	if err != nil {
		panic(err)
	}
	w.views[v.ID()] = v
	return v
}

func describe(v *ring.View) string {
	s := fmt.Sprintf("view %x:", v.ID()&0xffff)
	for _, m := range v.Members() {
		s += " " + m.Name
		if m.Draining {
			s += "(draining)"
		}
	}
	for p := range v.Partitions() {
		s += fmt.Sprintf(" p%d=%s/%s", p, v.Owner(p), v.Successor(p))
	}
	return s
}
