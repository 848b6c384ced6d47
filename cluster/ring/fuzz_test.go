package ring

import (
	"fmt"
	"testing"
)

// FuzzBuild builds views of any names, any of them draining, over any number of partitions: it never
// panics, every partition has an owner if anyone takes part and a successor if two do, and no member
// owns more than its bounded share.
func FuzzBuild(f *testing.F) {
	f.Add("a\nb\nc", uint64(0), uint16(271), uint8(0))
	f.Add("node1\nnode11\n\x00\n\xff\n0:a\n1:a\na", uint64(5), uint16(3), uint8(0))
	f.Add("", uint64(0), uint16(1), uint8(50))
	f.Add("x", uint64(0), uint16(7), uint8(49))
	f.Add("x\ny", ^uint64(0), uint16(7), uint8(0))
	f.Fuzz(func(t *testing.T, names string, draining uint64, partitions uint16, more uint8) {
		members := someMembers(names, draining, more)
		v, err := Build(members, int(partitions))
		wrong := partitions == 0 || len(members) == 0
		seen := make(map[string]bool)
		taking := 0
		for _, m := range members {
			wrong = wrong || m.Name == "" || seen[m.Name]
			seen[m.Name] = true
			if !m.Draining {
				taking++
			}
		}
		if wrong != (err != nil) {
			t.Fatalf("%d members, %d partitions: %v", len(members), partitions, err)
		}
		if err != nil {
			return
		}
		checkTable(t, v, taking)
	})
}

// One to fifty members, also more than there are partitions.
func TestOneToFiftyMembers(t *testing.T) {
	for n := 1; n <= 50; n++ {
		checkTable(t, build(t, cluster(n), 7), n)
	}
	for _, partitions := range []int{1, 2, 50, 271} {
		for _, n := range []int{1, 2, 3, 5, 12, 49, 50} {
			checkTable(t, build(t, cluster(n), partitions), n)
		}
	}
}

func someMembers(names string, draining uint64, more uint8) []Member {
	var members []Member
	start := 0
	for i := 0; i <= len(names) && len(members) < 50; i++ {
		if i == len(names) || names[i] == '\n' {
			members = append(members, Member{Name: names[start:i]})
			start = i + 1
		}
	}
	for i := range int(more) {
		if len(members) < 50 {
			members = append(members, Member{Name: fmt.Sprintf("more-%d", i)})
		}
	}
	for i := range members {
		members[i].Draining = draining>>(i%64)&1 == 1
	}
	return members
}

func checkTable(t *testing.T, v *View, taking int) {
	t.Helper()
	owned := make(map[string]int)
	for p := range v.Partitions() {
		owner, successor := v.Owner(p), v.Successor(p)
		if (owner != "") != (taking > 0) || (successor != "") != (taking > 1) || owner != "" && owner == successor {
			t.Fatalf("partition %d of %d over %d members: owner %q, successor %q", p, v.Partitions(), taking, owner, successor)
		}
		for _, name := range []string{owner, successor} {
			if m, ok := v.Member(name); name != "" && (!ok || m.Draining) {
				t.Fatalf("partition %d: %q takes no part", p, name)
			}
		}
		owned[owner]++
	}
	for name, n := range owned {
		if taking > 0 && float64(n) > float64(v.Partitions())/float64(taking)*load+1 {
			t.Errorf("%q owns %d of %d partitions, with %d members", name, n, v.Partitions(), taking)
		}
	}
}
