package main

import (
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin/health"
)

// statusJSON is a cluster as `status -o json` prints it, named as in the API.
type statusJSON struct {
	Healthy    bool         `json:"healthy"`
	Agree      bool         `json:"agree"`
	Problems   []string     `json:"problems"` // empty if and only if healthy
	AnsweredBy string       `json:"answered_by"`
	Partitions uint32       `json:"partitions"`
	Held       uint32       `json:"held"`      // by all members that answered
	Permitted  uint32       `json:"permitted"` // of those
	Members    []memberJSON `json:"members"`
	headline   string
}

type memberJSON struct {
	Name        string `json:"name"`
	Error       string `json:"error,omitempty"`
	State       string `json:"state"`
	Version     string `json:"version"`
	Boot        uint64 `json:"boot"`
	UptimeMS    uint64 `json:"uptime_ms"`
	GRPC        string `json:"grpc_address"`
	Peer        string `json:"peer_address"`
	Admin       string `json:"admin_address"`
	View        string `json:"view_id"` // 16 hex digits, as it is above what a JSON number holds; "": none
	ViewMembers uint32 `json:"view_members"`
	Policy      string `json:"policy"`
	Keys        uint64 `json:"keys"`
	Owned       uint32 `json:"owned"`
	Held        uint32 `json:"held"`
	Waiting     uint32 `json:"waiting"`
	Copies      uint32 `json:"copies"`
	Uncopied    uint32 `json:"uncopied"`
	Unsent      uint32 `json:"unsent"`
	CopyLagMS   uint32 `json:"copy_lag_ms"`
}

// statusOf tells what an answer means.
func statusOf(resp *adminv1.MembersResponse) statusJSON {
	r := health.Of(resp)
	s := statusJSON{
		Healthy: r.Healthy(), Agree: resp.GetAgree(), Problems: append([]string{}, r.Problems...), AnsweredBy: resp.GetAnsweredBy(),
		Partitions: resp.GetPartitions(), Held: r.Held, Permitted: r.Permitted, Members: []memberJSON{}, headline: r.Headline,
	}
	for _, m := range resp.GetMembers() {
		s.Members = append(s.Members, memberJSON{
			Name: m.GetName(), Error: m.GetError(), State: health.State(m), Version: m.GetVersion(),
			Boot: m.GetBoot(), UptimeMS: m.GetUptimeMs(), GRPC: m.GetGrpcAddress(), Peer: m.GetPeerAddress(), Admin: m.GetAdminAddress(),
			View: health.View(m), ViewMembers: m.GetViewMembers(), Policy: m.GetPolicy(), Keys: m.GetKeys(),
			Owned: m.GetOwned(), Held: m.GetHeld(), Waiting: m.GetWaiting(), Copies: m.GetCopies(), Uncopied: m.GetUncopied(),
			Unsent: m.GetUnsent(), CopyLagMS: m.GetCopyLagMs(),
		})
	}
	return s
}
