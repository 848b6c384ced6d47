package server

import (
	"context"
	"time"

	"github.com/overten/sluice/server/admin/statusz"
)

// page returns what the page for operators shows of the node. Until ctx ends its counters
// are looked at now and then, so that the page can tell rates.
func (n *Node) page(ctx context.Context, maxKeys int) *statusz.Node {
	rates := new(statusz.Rates)
	n.workers.Go(func() { n.sample(ctx, rates) })
	return &statusz.Node{
		Self: func() statusz.Self {
			taken, used := n.table.Memory()
			return statusz.Self{
				NodeStatus: n.cluster.Status(), NotReady: n.notReady(), MaxKeys: maxKeys, Leases: n.cluster.LeasesInUse(),
				TableTaken: taken, TableUsed: used,
			}
		},
		Placement: n.cluster.Placement, Rates: rates, Clock: n.clock,
	}
}

func (n *Node) sample(ctx context.Context, rates *statusz.Rates) {
	ticker := time.NewTicker(statusz.Every)
	defer ticker.Stop()
	for {
		now, _ := n.clock()
		rates.Sample(now, n.metrics.Decisions())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
