package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dchest/siphash"
)

const production = 1021

// cluster returns n members named as pods of a stateful set are.
func cluster(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Name: fmt.Sprintf("sluice-%d", i), Boot: uint64(i + 1)}
	}
	return members
}

func build(t testing.TB, members []Member, partitions int) *View {
	t.Helper()
	v, err := Build(members, partitions)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// without returns the members but one.
func without(members []Member, name string) []Member {
	return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Name == name })
}

// The busiest of ten members has at most 1.4 times the mean of 100,000 keys.
func TestKeysAreSpread(t *testing.T) {
	const keys, nodes = 100_000, 10
	v := build(t, cluster(nodes), production)
	count := make(map[string]int)
	for i := range keys {
		p := siphash.Hash(1, 2, fmt.Appendf(nil, "key-%d", i)) % production
		count[v.Owner(int(p))]++
	}
	for name, n := range count {
		if float64(n) > 1.4*keys/nodes {
			t.Errorf("%s has %d keys, %.2f times the mean", name, n, float64(n)*nodes/keys)
		}
	}
	if len(count) != nodes {
		t.Errorf("%d of %d nodes have keys", len(count), nodes)
	}
}

// A join moves at most 1.7 times its fair share, whoever joins a cluster of up to 19.
func TestJoinMovesItsShare(t *testing.T) {
	worst := 0.0
	for n := 1; n < 20; n++ {
		small := build(t, cluster(n), production)
		big := build(t, cluster(n+1), production)
		share := float64(len(Moves(small, big))) * float64(n+1) / production
		worst = max(worst, share)
		if share > 1.7 {
			t.Errorf("from %d to %d members %.2f times the fair share moves", n, n+1, share)
		}
	}
	t.Logf("worst: %.2f", worst)
}

// Names other than those of a stateful set do about as well.
func TestJoinMovesItsShareWithRandomNames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		n := 1 + rnd.IntN(19)
		members := make([]Member, n+1)
		for i := range members {
			members[i].Name = fmt.Sprintf("ip-10-0-%d-%d", rnd.IntN(256), rnd.IntN(256))
		}
		moved := Moves(build(t, members[:n], production), build(t, members, production))
		if share := float64(len(moved)) * float64(n+1) / production; share > 1.7 {
			t.Errorf("%v: %.2f times the fair share moves", members, share)
		}
	}
}

// The successor of a partition is its owner in the view without the owner: the definition, checked
// against whole views.
func TestSuccessorOwnsWhenTheOwnerIsGone(t *testing.T) {
	for _, n := range []int{2, 3, 4, 7, 10} {
		members := cluster(n)
		v := build(t, members, production)
		for _, gone := range members {
			after := build(t, without(members, gone.Name), production)
			for _, p := range v.Owned(gone.Name) {
				if got, want := v.Successor(p), after.Owner(p); got != want {
					t.Fatalf("%d members: the successor of partition %d is %q, without %s it is owned by %q", n, p, got, gone.Name, want)
				}
			}
		}
	}
}

func TestOneMemberHasNoSuccessor(t *testing.T) {
	v := build(t, cluster(1), 13)
	for p := range 13 {
		if v.Owner(p) != "sluice-0" || v.Successor(p) != "" {
			t.Errorf("partition %d: owner %q, successor %q", p, v.Owner(p), v.Successor(p))
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	members := cluster(9)
	want := build(t, members, 271)
	for range 5 {
		rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		got := build(t, members, 271)
		if got.ID() != want.ID() || len(Moves(got, want)) != 0 || !slices.Equal(got.Members(), want.Members()) {
			t.Fatalf("the view depends on the order %v", members)
		}
		for p := range 271 {
			if got.Successor(p) != want.Successor(p) {
				t.Fatalf("the successor of %d depends on the order %v", p, members)
			}
		}
	}
}

// Draining members stay members, own nothing and succeed nobody; the rest is as if they had left.
func TestDrainingMembersOwnNothing(t *testing.T) {
	members := cluster(4)
	members[2].Draining = true
	v := build(t, members, production)
	left := build(t, without(members, members[2].Name), production)
	if moved := Moves(v, left); len(moved) != 0 {
		t.Errorf("%d partitions move when a drained member leaves", len(moved))
	}
	for p := range production {
		if v.Owner(p) == members[2].Name || v.Successor(p) == members[2].Name {
			t.Fatalf("partition %d: owner %q, successor %q", p, v.Owner(p), v.Successor(p))
		}
	}
	if m, ok := v.Member(members[2].Name); !ok || !m.Draining {
		t.Error("a draining member is not in the view")
	}
	if v.ID() == left.ID() {
		t.Error("the id does not tell that a member is gone")
	}
}

func TestAllDrain(t *testing.T) {
	v := build(t, []Member{{Name: "a", Draining: true}, {Name: "b", Draining: true}}, 7)
	for p := range 7 {
		if v.Owner(p) != "" || v.Successor(p) != "" {
			t.Errorf("partition %d: owner %q, successor %q", p, v.Owner(p), v.Successor(p))
		}
	}
	if got := v.Owned(""); got != nil {
		t.Errorf("nobody owns %v", got)
	}
}

// A restart moves nothing, and is another view.
func TestBootsChangeOnlyTheID(t *testing.T) {
	members := cluster(5)
	before := build(t, members, production)
	members[3].Boot += 7
	after := build(t, members, production)
	if len(Moves(before, after)) != 0 {
		t.Error("a boot number moves partitions")
	}
	if before.ID() == after.ID() {
		t.Error("the id does not tell boots apart")
	}
}

func TestIDTellsViewsApart(t *testing.T) {
	views := map[string]*View{
		"two":             build(t, []Member{{Name: "a"}, {Name: "b"}}, 7),
		"one":             build(t, []Member{{Name: "a"}}, 7),
		"joined name":     build(t, []Member{{Name: "ab"}}, 7),
		"draining":        build(t, []Member{{Name: "a"}, {Name: "b", Draining: true}}, 7),
		"boot":            build(t, []Member{{Name: "a", Boot: 1}, {Name: "b"}}, 7),
		"more partitions": build(t, []Member{{Name: "a"}, {Name: "b"}}, 8),
	}
	given, err := Of([]Member{{Name: "a"}, {Name: "b"}}, []string{"a", "", "", "", "", "", ""}, make([]string, 7))
	if err != nil {
		t.Fatal(err)
	}
	views["given table"] = given
	seen := make(map[uint64]string)
	for what, v := range views {
		if other, ok := seen[v.ID()]; ok {
			t.Errorf("%q and %q have the id %x", what, other, v.ID())
		}
		if v.ID() == 0 {
			t.Errorf("%q has the id 0", what)
		}
		seen[v.ID()] = what
	}
}

func TestMovesOfNilAndBack(t *testing.T) {
	v := build(t, cluster(2), 11)
	joins, leaves := Moves(nil, v), Moves(v, nil)
	if len(joins) != 11 || len(leaves) != 11 || len(Moves(nil, nil)) != 0 {
		t.Fatalf("%d partitions move to the first view, %d from it to none", len(joins), len(leaves))
	}
	for p := range 11 {
		if (joins[p] != Move{p, "", v.Owner(p)}) || (leaves[p] != Move{p, v.Owner(p), ""}) {
			t.Errorf("partition %d: %v, %v", p, joins[p], leaves[p])
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		members    []Member
		partitions int
		want       string
	}{
		{nil, 7, "members"},
		{[]Member{{Name: ""}}, 7, "members"},
		{[]Member{{Name: "a"}, {Name: "b"}, {Name: "a", Boot: 2}}, 7, `"a"`},
		{cluster(2), 0, "partitions"},
		{cluster(2), -1, "partitions"},
		{cluster(2), MaxPartitions + 1, "partitions"},
	} {
		if v, err := Build(c.members, c.partitions); err == nil || v != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %d partitions: %v, want an error about %s", c.members, c.partitions, err, c.want)
		}
	}
}

func TestOfRefuses(t *testing.T) {
	members := []Member{{Name: "a"}, {Name: "b"}, {Name: "c", Draining: true}}
	for _, c := range []struct {
		owners, successors []string
		want               string
	}{
		{nil, nil, "partitions"},
		{[]string{"a"}, nil, "successors"},
		{[]string{"x"}, []string{""}, "owners"},
		{[]string{"c"}, []string{""}, "owners"},
		{[]string{"a"}, []string{"c"}, "successors"},
		{[]string{"a"}, []string{"a"}, "successors"},
	} {
		if _, err := Of(members, c.owners, c.successors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %v: %v, want an error about %s", c.owners, c.successors, err, c.want)
		}
	}
	v, err := Of(members, []string{"b", ""}, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Owner(0) != "b" || v.Successor(0) != "a" || v.Owner(1) != "" || v.Successor(1) != "b" || v.Owner(2) != "" || v.Owner(-1) != "" {
		t.Error("the view has another table than the one given")
	}
}

// Members that flap cost the building of a table once, whatever their boots.
func TestBuilderRemembers(t *testing.T) {
	b := NewBuilder(production)
	members := cluster(3)
	first, err := b.Build(members)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(members[:2]); err != nil {
		t.Fatal(err)
	}
	members[0].Boot = 99
	again, err := b.Build(members)
	if err != nil {
		t.Fatal(err)
	}
	if first.table != again.table {
		t.Error("the same members had their table built again")
	}
	if first.ID() == again.ID() {
		t.Error("another boot has the id of the first")
	}
	for i := range 3 * remembered {
		if _, err := b.Build([]Member{{Name: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.tables) != remembered || len(b.recent) != remembered {
		t.Errorf("%d tables, %d keys are remembered, at most %d should be", len(b.tables), len(b.recent), remembered)
	}
}

func TestBuilderIsSafeForConcurrentUse(t *testing.T) {
	b := NewBuilder(31)
	var calls sync.WaitGroup
	for n := 1; n <= 8; n++ {
		calls.Go(func() {
			for range 20 {
				v, err := b.Build(cluster(n))
				if err != nil || len(v.Members()) != n {
					t.Errorf("%d members: %v", n, err)
				}
			}
		})
	}
	calls.Wait()
}

// What a change of the configuration does must be seen: it would split a cluster in two that
// disagree. Whoever changes what this pins changes the version too.
func TestFingerprintIsPinned(t *testing.T) {
	if Fingerprint(production) == Fingerprint(1019) || Fingerprint(production) == 0 {
		t.Error("the fingerprint does not tell partitions")
	}
	if got, want := Fingerprint(production), uint64(0xf0a0ddafede09af9); got != want {
		t.Errorf("the fingerprint is %#x, was %#x", got, want)
	}
	if got, want := build(t, cluster(10), production).tableSum(), uint64(0xed4e8f2ded5d2c2f); got != want {
		t.Errorf("the table of ten members has the sum %#x, had %#x: has the version grown?", got, want)
	}
}

// tableSum is a fingerprint of who owns and succeeds.
func (v *View) tableSum() uint64 {
	var b []byte
	for p := range v.Partitions() {
		b = appendName(appendName(b, v.Owner(p)), v.Successor(p))
	}
	return fingerprint(b)
}

func BenchmarkBuild(b *testing.B) {
	for _, c := range []struct{ members, partitions int }{{3, 1021}, {10, 1021}, {50, 1021}, {50, 4093}} {
		b.Run(fmt.Sprintf("members=%d/partitions=%d", c.members, c.partitions), func(b *testing.B) {
			for b.Loop() {
				build(b, cluster(c.members), c.partitions)
			}
		})
	}
}
