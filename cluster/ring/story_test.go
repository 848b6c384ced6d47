package ring

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A cluster is scaled from three to seven and back, over few partitions and many: there is always
// room for each of them.
func TestScalingFromThreeToSevenAndBack(t *testing.T) {
	for _, partitions := range []int{5, 7, 23, 271, production} {
		b := NewBuilder(partitions)
		for _, n := range []int{3, 4, 5, 6, 7, 6, 5, 4, 3} {
			v, err := b.Build(cluster(n))
			if err != nil {
				t.Fatalf("%d members, %d partitions: %v", n, partitions, err)
			}
			checkTable(t, v, n)
		}
	}
}

// Names of which one begins with another are as good as any: each owns its share.
func TestNamesThatBeginWithOthers(t *testing.T) {
	var members []Member
	for _, name := range []string{"node1", "node11", "node111", "node1111", "1:node1", "node10"} {
		members = append(members, Member{Name: name})
	}
	v := build(t, members, production)
	for _, m := range members {
		if n, mean := len(v.Owned(m.Name)), production/len(members); n < mean/2 || n > 2*mean {
			t.Errorf("%s owns %d partitions, %d would be fair", m.Name, n, mean)
		}
	}
}

// A join also moves partitions between members that stay: what a joiner takes is not all that moves.
func TestMovesBetweenMembersThatStay(t *testing.T) {
	between := 0
	for seed := range 20 {
		var members []Member
		for i := range 4 {
			members = append(members, Member{Name: fmt.Sprintf("%d-%d", seed, i)})
		}
		joiner := members[3].Name
		for _, m := range Moves(build(t, members[:3], 271), build(t, members, 271)) {
			if m.From == joiner {
				t.Errorf("partition %d moves from the member that joined", m.Partition)
			}
			if m.To != joiner {
				between++
			}
		}
	}
	if between == 0 {
		t.Error("in 20 joins nothing moved between members that stay: does this test still test anything?")
	}
}

// Members join, leave, drain and restart at random. At each step the moves turn the last view into the
// next, nothing moves without reason, and a Builder that remembers agrees with one that does not.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 61
		b := NewBuilder(partitions)
		var last *View
		var owners [partitions]string
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			members := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Member {
				return Member{
					Name:     rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "name"),
					Boot:     rapid.Uint64Range(1, 3).Draw(t, "boot"),
					Draining: rapid.IntRange(0, 3).Draw(t, "draining") == 0,
				}
			}), 1, 6, func(m Member) string { return m.Name }).Draw(t, "members")
			v, err := b.Build(members)
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := Build(members, partitions)
			if err != nil {
				t.Fatal(err)
			}
			if fresh.ID() != v.ID() || len(Moves(fresh, v)) != 0 {
				t.Fatal("a remembered view differs from a new one")
			}
			moves := Moves(last, v)
			if !slices.IsSortedFunc(moves, func(x, y Move) int { return x.Partition - y.Partition }) {
				t.Fatal("moves are not by partition")
			}
			for _, m := range moves {
				if owners[m.Partition] != m.From || m.From == m.To {
					t.Fatalf("%v, but it was owned by %q", m, owners[m.Partition])
				}
				owners[m.Partition] = m.To
			}
			for p := range partitions {
				if owners[p] != v.Owner(p) {
					t.Fatalf("after the moves partition %d is owned by %q, in the view by %q", p, owners[p], v.Owner(p))
				}
			}
			last = v
		}
	})
}
