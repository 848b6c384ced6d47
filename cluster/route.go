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
	changed   chan struct{} // closed when there is a newer one
}

// routeCell holds the route of one partition.
type routeCell struct {
	now      atomic.Pointer[route]
	awaiting atomic.Int32 // who waits for copies: then every step is told
}

// stir wakes all who wait for a route.
func (n *Node) stir() {
	c := make(chan struct{})
	if old := n.stirred.Swap(&c); old != nil {
		close(*old)
	}
}

func (n *Node) route(p limiter.PartitionID) *route { return n.routes[p].now.Load() }

// publishLocked takes the machine's route of p, and wakes who waits for copies. It tells
// whether the route is another.
func (n *Node) publishLocked(p limiter.PartitionID, always bool) (changed bool) {
	cell := &n.routes[p]
	old, now := cell.now.Load(), n.machine.Route(p)
	permitted := now.Held && now.Until > n.Clock()
	same := old.Holder == now.Holder && old.Held == now.Held && old.Gen == now.Gen && old.Done == now.Done && old.permitted == permitted
	if same && !always && cell.awaiting.Load() == 0 {
		return false
	}
	moved := old.Holder != now.Holder
	cell.now.Store(&route{Route: now, permitted: permitted, changed: make(chan struct{})})
	close(old.changed)
	if moved {
		n.topology.moved(p, now.Holder)
	}
	return !same
}
