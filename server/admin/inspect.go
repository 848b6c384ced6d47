package admin

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Inspect explains one key.
func (s *service) Inspect(ctx context.Context, req *adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
	key, err := s.keyOf(req.GetKey())
	if err != nil {
		return nil, err
	}
	who, err := s.resolve(req.GetKey(), req.GetTier())
	if err != nil {
		return nil, err
	}
	st, err := s.cluster.Inspect(ctx, key, who.Tier)
	if err != nil {
		return nil, unanswered(err)
	}
	return explain(key, st, who), nil
}

// explain tells what the holder of a key knows of it, by the tier that counts.
func explain(key limiter.Key, st peer.KeyStatus, who policy.Resolution) *adminv1.InspectResponse {
	resp := &adminv1.InspectResponse{
		Identity: key.ID.String(), Found: st.Found, Status: keyStatus(who.Status), Exactness: adminv1.Exactness(st.Exactness),
		Placement: &adminv1.Placement{
			Partition: uint32(st.Partition), Holder: st.Node, Generation: st.Generation,
			Copies: slices.Sorted(slices.Values(st.Copies)), Permitted: st.Permitted,
		},
		HorizonMs: wait(st.State.Horizon), Tombstones: count(st.State.Tombstones),
		HistoryTruncated: len(st.State.History) >= limiter.MaxInspected, // or that is all of it
	}
	history := make([]admission, len(st.State.History))
	for i, e := range st.State.History {
		history[i] = admission{st.Age(e.At), e.Units}
		resp.History = append(resp.History, &adminv1.Admission{AgeMs: age(history[i].age), Units: e.Units})
	}
	if who.Tier != nil {
		resp.Tier, resp.Concurrent = who.Tier.Name(), who.Tier.Concurrent()
		for _, w := range who.Tier.Windows() {
			resp.Windows = append(resp.Windows, window(w, history))
		}
	}
	for _, l := range st.State.Leases {
		resp.Leases = append(resp.Leases, lease(peer.LeaseStatus{
			Node: st.Node, Key: key, RunID: l.RunID, TaskID: l.TaskID, RequestID: l.RequestID, Tier: l.Tier,
			Age: st.Age(l.Acquired), Left: -st.Age(l.Expiry),
		}))
	}
	sortLeases(resp.Leases)
	return resp
}

// Reset forgets a key's history.
func (s *service) Reset(ctx context.Context, req *adminv1.ResetRequest) (*adminv1.ResetResponse, error) {
	key, err := s.keyOf(req.GetKey())
	if err != nil {
		return nil, err
	}
	found, err := s.cluster.Reset(ctx, key)
	if err != nil {
		return nil, unanswered(err)
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "an operator reset a key", slog.String("identity", key.ID.String()), slog.Bool("found", found))
	return &adminv1.ResetResponse{Found: found}, nil
}

// sortLeases puts the oldest first: of slots that leak it is the oldest that tell.
func sortLeases(leases []*adminv1.Lease) {
	slices.SortFunc(leases, func(a, b *adminv1.Lease) int {
		return cmp.Or(cmp.Compare(b.GetAgeMs(), a.GetAgeMs()), cmp.Compare(a.GetIdentity(), b.GetIdentity()), cmp.Compare(a.GetRunId(), b.GetRunId()))
	})
}
