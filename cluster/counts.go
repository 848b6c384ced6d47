package cluster

import (
	"sync/atomic"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// Counts is what a node has done since it started.
type Counts struct {
	Views    uint64 // that it went by, one after the other
	Rounds   ownership.RoundCounts
	Waited   uint64 // calls that could not go on at once: nobody was known to be permitted to decide
	Received uint64 // calls that other nodes passed on to this one
	// Forwarded are the calls that this node passed on to others and that came back, by what came of them.
	Forwarded struct{ Decided, Undecided, Unknown, Failed uint64 }
}

// counts is where a node counts what its machine does not.
type counts struct {
	views, waited, received             atomic.Uint64
	decided, undecided, unknown, failed atomic.Uint64 // forwarded calls
}

// came counts what came of a call that was passed on.
func (c *counts) came(a *peer.Answer) {
	switch {
	case a.Undecided:
		c.undecided.Add(1)
	case a.Unknown:
		c.unknown.Add(1)
	case a.Err != nil:
		c.failed.Add(1)
	default:
		c.decided.Add(1)
	}
}

func (c *counts) read(rounds ownership.RoundCounts) Counts {
	out := Counts{Views: c.views.Load(), Rounds: rounds, Waited: c.waited.Load(), Received: c.received.Load()}
	f := &out.Forwarded
	f.Decided, f.Undecided, f.Unknown, f.Failed = c.decided.Load(), c.undecided.Load(), c.unknown.Load(), c.failed.Load()
	return out
}

// Counts returns what the node has done since it started.
func (n *Node) Counts() Counts {
	var rounds ownership.RoundCounts
	n.do(func(m *ownership.Machine, _ limiter.Instant) { rounds = m.Rounds() })
	return n.counts.read(rounds)
}

// LeasesInUse returns how many leases are live in the partitions that this node holds.
func (n *Node) LeasesInUse() (leases int) {
	now := n.Clock()
	for p := range n.routes {
		if id := limiter.PartitionID(p); n.route(id).Held {
			leases += n.table.CountLeases(id, now)
		}
	}
	return leases
}

// Placement returns, by partition, who should decide by this node's view, and who does as far as it
// knows; "" where that is not known.
func (n *Node) Placement() (owners, holders []string) {
	owners, holders = make([]string, n.Partitions), make([]string, n.Partitions)
	n.mu.Lock()
	view := n.view
	n.mu.Unlock()
	for p := range n.routes {
		if view != nil {
			owners[p] = view.Owner(p)
		}
		holders[p] = n.route(limiter.PartitionID(p)).Holder
	}
	return owners, holders
}
