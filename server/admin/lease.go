package admin

import (
	"context"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Bounds on how many leases are listed.
const (
	defaultLeases = 1_000
	maxLeases     = 10_000
)

// ListLeases lists the live leases of one key or of all.
func (s *service) ListLeases(ctx context.Context, req *adminv1.ListLeasesRequest) (*adminv1.ListLeasesResponse, error) {
	most := int(req.GetLimit())
	switch {
	case most > maxLeases:
		return nil, outOfRange("limit", "is %d, must be from 0 to %d", most, maxLeases)
	case most == 0:
		most = defaultLeases
	}
	var of *limiter.Key
	if req.Key != nil {
		key, err := s.keyOf(req.GetKey())
		if err != nil {
			return nil, err
		}
		of = &key
	}
	leases, more, err := s.cluster.Leases(ctx, of, most)
	if err != nil {
		return nil, unanswered(err)
	}
	resp := &adminv1.ListLeasesResponse{More: more}
	for _, l := range leases {
		resp.Leases = append(resp.Leases, lease(l))
	}
	sortLeases(resp.Leases)
	return resp, nil
}

func lease(l peer.LeaseStatus) *adminv1.Lease {
	return &adminv1.Lease{
		RunId: l.RunID, TaskId: l.TaskID, RequestId: l.RequestID, Tier: l.Tier,
		AgeMs: ageLong(l.Age), ExpiresInMs: wait(l.Left), Identity: l.Key.ID.String(), Holder: l.Node,
	}
}
