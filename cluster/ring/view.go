package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// MaxPartitions bounds the number of partitions.
const MaxPartitions = 1 << 16

// A Member is a node as far as the ring is concerned.
type Member struct {
	Name     string // unique in the cluster, not empty
	Boot     uint64 // tells two lives of one name apart; it has no part in who owns what
	Draining bool   // about to leave: owns nothing, succeeds nobody
}

// A View is the members of the cluster and, for every partition, its owner and its successor.
// It is immutable and safe for concurrent use.
type View struct {
	id      uint64
	members []Member // by name
	table   *table
}

// Build returns the view of these members, which may come in any order. It takes some tens of
// milliseconds at 50 members; a Builder remembers.
//
// It is an error if there is no member, if a name is empty or comes twice, or if partitions is not
// from 1 to MaxPartitions.
func Build(members []Member, partitions int) (*View, error) {
	return NewBuilder(partitions).Build(members)
}

// Of returns a view with a given table, for simulations: the owner and the successor of each
// partition by name, "" for none. It is an error if they name a member that does not exist or
// drains, or one member as both owner and successor.
func Of(members []Member, owners, successors []string) (*View, error) {
	if len(owners) != len(successors) {
		return nil, fmt.Errorf("successors: %d for %d owners", len(successors), len(owners))
	}
	if err := checkPartitions(len(owners)); err != nil {
		return nil, err
	}
	sorted, err := sortMembers(members)
	if err != nil {
		return nil, err
	}
	t, err := givenTable(active(sorted), owners, successors)
	if err != nil {
		return nil, err
	}
	return newView(sorted, t), nil
}

func newView(sorted []Member, t *table) *View {
	return &View{id: viewID(sorted, t), members: sorted, table: t}
}

// ID is a fingerprint of the members (names, boots, who drains) and of the ring's configuration.
// Views of one id are equal. It is never 0.
func (v *View) ID() uint64 { return v.id }

// Members returns all members, also draining ones, by name. The caller must not change them.
func (v *View) Members() []Member { return v.members }

// Member returns the member of that name.
func (v *View) Member(name string) (Member, bool) {
	i, ok := slices.BinarySearchFunc(v.members, name, func(m Member, name string) int {
		return cmp.Compare(m.Name, name)
	})
	if !ok {
		return Member{}, false
	}
	return v.members[i], true
}

// Partitions returns the number of partitions; they are numbered from 0.
func (v *View) Partitions() int { return len(v.table.owners) }

// Owner returns the member that should hold partition p: "" if all members drain or there is no
// such partition.
func (v *View) Owner(p int) string { return v.table.name(v.table.owners, p) }

// Successor returns the member that would own partition p if its owner were gone: "" if there is
// no other or no such partition.
func (v *View) Successor(p int) string { return v.table.name(v.table.successors, p) }

// sortMembers returns the members by name, checked.
func sortMembers(members []Member) ([]Member, error) {
	if len(members) == 0 {
		return nil, errors.New("members: there is none")
	}
	sorted := slices.SortedFunc(slices.Values(members), func(a, b Member) int {
		return cmp.Compare(a.Name, b.Name)
	})
	if sorted[0].Name == "" {
		return nil, errors.New("members: one has no name")
	}
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Name == sorted[i-1].Name {
			return nil, fmt.Errorf("members: %q is there twice", sorted[i].Name)
		}
	}
	return sorted, nil
}

// active returns the names of the members that take part in the ring.
func active(members []Member) []string {
	names := make([]string, 0, len(members))
	for _, m := range members {
		if !m.Draining {
			names = append(names, m.Name)
		}
	}
	return names
}

func checkPartitions(n int) error {
	if n < 1 || n > MaxPartitions {
		return fmt.Errorf("partitions: %d is not from 1 to %d", n, MaxPartitions)
	}
	return nil
}
