package admin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/cluster/peer"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

func up(name string, view uint64, policy string) member {
	return member{NodeStatus: peer.NodeStatus{Name: name, State: peer.Serving, View: view, Policy: policy}}
}

func silent(name string) member {
	return member{NodeStatus: peer.NodeStatus{Name: name}, err: errors.New("connection refused")}
}

// Members agree if those that answered go by one view, which must be there, and one policy.
func TestMembersAgree(t *testing.T) {
	for name, c := range map[string]struct {
		members []member
		agree   bool
	}{
		"alone":             {[]member{up("a", 1, "p")}, true},
		"three":             {[]member{up("a", 1, "p"), up("b", 1, "p"), up("c", 1, "p")}, true},
		"one is silent":     {[]member{silent("a"), up("b", 1, "p"), up("c", 1, "p")}, true},
		"two views":         {[]member{up("a", 1, "p"), up("b", 1, "p"), up("c", 2, "p")}, false},
		"two policies":      {[]member{up("a", 1, "p"), up("b", 1, "q")}, false},
		"one has no view":   {[]member{up("a", 1, "p"), up("b", 0, "p")}, false},
		"none has a view":   {[]member{up("a", 0, "p"), up("b", 0, "p")}, false},
		"nobody answers":    {[]member{silent("a")}, false},
		"first of two sees": {[]member{up("a", 2, "p"), silent("b"), up("c", 1, "p")}, false},
	} {
		r := serve(t, &fakeCluster{members: func(context.Context) []member { return c.members }}, tiers(t))
		resp, err := r.Members(t.Context(), &adminv1.MembersRequest{})
		if err != nil || resp.GetAgree() != c.agree {
			t.Errorf("%s: %v, %v; want agree %v", name, resp, err, c.agree)
		}
	}
}

// Each member is told as it tells itself, in the order of names, and one that does not
// answer with the reason.
func TestMembersAreTold(t *testing.T) {
	full := member{NodeStatus: peer.NodeStatus{
		Name: "c", Boot: 3, Version: "v1", State: peer.Draining, GRPC: "g:1", Peer: "p:1", Admin: "a:1",
		Uptime: 90 * 24 * time.Hour, View: 1 << 63, Members: 3, Policy: "p", Keys: 10, Owned: 1, Held: 2, Waiting: 3,
		Copies: 4, Uncopied: 5, Unsent: 6, CopyLag: 1500 * time.Microsecond,
	}}
	r := serve(t, &fakeCluster{members: func(context.Context) []member {
		return []member{full, silent("b"), up("a", 1, "p")}
	}}, tiers(t))
	got, err := r.Members(t.Context(), &adminv1.MembersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &adminv1.MembersResponse{AnsweredBy: "b", Partitions: partitions, Members: []*adminv1.Member{
		{Name: "a", State: adminv1.NodeState_NODE_STATE_SERVING, ViewId: 1, Policy: "p"},
		{Name: "b", Error: "connection refused"},
		{
			Name: "c", Boot: 3, Version: "v1", State: adminv1.NodeState_NODE_STATE_DRAINING,
			GrpcAddress: "g:1", PeerAddress: "p:1", AdminAddress: "a:1", UptimeMs: 7_776_000_000, ViewId: 1 << 63, ViewMembers: 3,
			Policy: "p", Keys: 10, Owned: 1, Held: 2, Waiting: 3, Copies: 4, Uncopied: 5, Unsent: 6, CopyLagMs: 2,
		},
	}}
	if !proto.Equal(got, want) {
		t.Errorf("told %v,\nwant %v", got, want)
	}
}

// A member that is silent does not take the answer of the others with it: gathering ends
// before the caller's patience does.
func TestMembersEndsBeforeItsCaller(t *testing.T) {
	r := serve(t, &fakeCluster{members: func(ctx context.Context) []member {
		<-ctx.Done()
		return []member{up("a", 1, "p"), {NodeStatus: peer.NodeStatus{Name: "b"}, err: ctx.Err()}}
	}}, tiers(t))
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	resp, err := r.Members(ctx, &adminv1.MembersRequest{})
	if err != nil || len(resp.GetMembers()) != 2 || resp.GetMembers()[1].GetError() == "" {
		t.Errorf("%v, %v", resp, err)
	}
}

// A panic is an error that tells nothing but where to look, and the node lives on.
func TestPanic(t *testing.T) {
	c := &fakeCluster{members: func(context.Context) []member { panic("a bug") }}
	r := serve(t, c, tiers(t))
	for range 2 {
		_, err := r.Members(t.Context(), &adminv1.MembersRequest{})
		fails(t, err, codes.Internal, "INTERNAL_ERROR", "")
	}
}
