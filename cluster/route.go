package cluster

import (
	"sync/atomic"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// route is where a partition is decided, as the machine last said. It is immutable.
type route struct {
	ownership.Route
	permitted bool
}

// routeCell holds the route of one partition.
type routeCell struct{ now atomic.Pointer[route] }

// stir wakes all who wait for a route.
func (n *Node) stir() {
	c := make(chan struct{})
	if old := n.stirred.Swap(&c); old != nil {
		close(*old)
	}
}

func (n *Node) route(p limiter.PartitionID) *route { return n.routes[p].now.Load() }

// publishLocked takes the machine's route of p, and tells whether it is another.
func (n *Node) publishLocked(p limiter.PartitionID) (changed bool) {
	cell := &n.routes[p]
	old, now := cell.now.Load(), n.machine.Route(p)
	permitted := now.Held && now.Until > n.Clock()
	if old.Holder == now.Holder && old.Held == now.Held && old.Gen == now.Gen && old.permitted == permitted {
		return false
	}
	cell.now.Store(&route{Route: now, permitted: permitted})
	if old.Holder != now.Holder {
		n.topology.moved(p, now.Holder)
	}
	return true
}
