package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/overten/sluice/cluster/peer"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// gather is how long members have to answer: a caller is told of one that is silent while
// it still listens.
const gather = time.Second

// Members tells how each member is.
func (s *service) Members(ctx context.Context, _ *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	patience := gather
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)*3/4)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var members []member
	for st, err := range s.cluster.Members(asking) {
		members = append(members, member{st, err})
	}
	if err := ctx.Err(); err != nil {
		return nil, unanswered(err)
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.Name, b.Name) })
	resp := &adminv1.MembersResponse{AnsweredBy: s.node, Partitions: count(s.partitions), Agree: agree(members)}
	for _, m := range members {
		resp.Members = append(resp.Members, m.tell())
	}
	return resp, nil
}

// member is what one node says of itself, or why it did not.
type member struct {
	peer.NodeStatus
	err error
}

// agree tells whether those that answered go by one view and one policy.
func agree(members []member) bool {
	var first *member
	for i := range members {
		m := &members[i]
		switch {
		case m.err != nil:
		case m.View == 0:
			return false
		case first == nil:
			first = m
		case m.View != first.View || m.Policy != first.Policy:
			return false
		}
	}
	return first != nil
}

func (m *member) tell() *adminv1.Member {
	out := &adminv1.Member{
		Name: m.Name, State: states[m.State], Version: m.Version, Boot: m.Boot, UptimeMs: ageLong(m.Uptime),
		GrpcAddress: m.GRPC, PeerAddress: m.Peer, AdminAddress: m.Admin,
		ViewId: m.View, ViewMembers: count(m.Members), Policy: m.Policy, Keys: uint64(max(0, m.Keys)),
		Owned: count(m.Owned), Held: count(m.Held), Waiting: count(m.Waiting),
		Copies: count(m.Copies), Uncopied: count(m.Uncopied), Unsent: count(m.Unsent), CopyLagMs: wait(m.CopyLag),
	}
	if m.err != nil {
		out.Error = m.err.Error()
		if out.Error == "" {
			out.Error = "no answer"
		}
		out.State = adminv1.NodeState_NODE_STATE_UNSPECIFIED
	}
	return out
}

var states = map[peer.NodeState]adminv1.NodeState{
	peer.Joining:  adminv1.NodeState_NODE_STATE_JOINING,
	peer.Serving:  adminv1.NodeState_NODE_STATE_SERVING,
	peer.Refusing: adminv1.NodeState_NODE_STATE_REFUSING,
	peer.Draining: adminv1.NodeState_NODE_STATE_DRAINING,
}
