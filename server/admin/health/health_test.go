package health

import (
	"slices"
	"testing"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

func member(name string, held uint32) *adminv1.Member {
	return &adminv1.Member{Name: name, State: adminv1.NodeState_NODE_STATE_SERVING, ViewId: 1 << 60, Policy: "00c0ffee11223344", Held: held}
}

func TestHealthy(t *testing.T) {
	r := Of(&adminv1.MembersResponse{Partitions: 7, Agree: true, Members: []*adminv1.Member{member("a", 3), member("b", 4)}})
	if want := "healthy: 2 members, in agreement on view 10000000; 7 of 7 partitions held, 7 permitted"; !r.Healthy() || r.Headline != want {
		t.Errorf("%v, %q; want %q", r.Problems, r.Headline, want)
	}
}

// The gravest comes first: who is silent, then who does not serve, then what is not held.
func TestProblemsAreInOrder(t *testing.T) {
	draining, silent := member("b", 2), &adminv1.Member{Name: "c", Error: "connection refused"}
	draining.State, draining.Policy, draining.Waiting = adminv1.NodeState_NODE_STATE_DRAINING, "deadbeef00000000", 1
	r := Of(&adminv1.MembersResponse{Partitions: 7, Members: []*adminv1.Member{member("a", 3), draining, silent}})
	want := []string{
		"c does not answer: connection refused", "b is draining", "members have different policies: 00c0ffee (a), deadbeef (b)",
		"2 partitions are held by nobody who answered", "b is not permitted to decide for 1 of the partitions that it holds",
	}
	if r.Healthy() || !slices.Equal(r.Problems, want) || r.Held != 5 || r.Permitted != 4 {
		t.Errorf("%q, want %q; %d held, %d permitted", r.Problems, want, r.Held, r.Permitted)
	}
}
