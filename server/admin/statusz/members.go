package statusz

import (
	"context"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin/health"
)

// The members are what `sluice status` shows.
type members struct {
	Error    string // why there is nothing more; "": there is
	Healthy  bool
	Headline string
	Problems []string
	Rows     []row
}

// A row is one member.
type row struct {
	*adminv1.Member
	State, Uptime, Lag     string
	Self                   bool // it is the node that shows the page
	Policy, View           string
	OtherPolicy, OtherView bool // than that node's
}

func (p *page) members(ctx context.Context) members {
	resp, err := p.admin.Members(ctx, &adminv1.MembersRequest{})
	if err != nil {
		return members{Error: readable(err)}
	}
	r := health.Of(resp)
	m := members{Healthy: r.Healthy(), Headline: r.Headline, Problems: r.Problems}
	var self *adminv1.Member
	for _, of := range resp.GetMembers() {
		if of.GetName() == resp.GetAnsweredBy() {
			self = of
		}
	}
	for _, of := range resp.GetMembers() {
		m.Rows = append(m.Rows, row{
			Member: of, State: health.State(of), Self: of == self,
			Uptime: brief(millis(of.GetUptimeMs())), Lag: millis(of.GetCopyLagMs()).String(),
			Policy: health.Short(of.GetPolicy()), View: health.Short(health.View(of)),
			OtherPolicy: self != nil && of.GetError() == "" && of.GetPolicy() != self.GetPolicy(),
			OtherView:   self != nil && of.GetError() == "" && of.GetViewId() != self.GetViewId(),
		})
	}
	return m
}
