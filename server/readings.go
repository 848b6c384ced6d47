package server

import (
	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// readings returns what metrics tell of the node beside what they count.
func (n *Node) readings() metrics.Readings {
	r := metrics.Readings{Keys: n.table.Keys()}
	r.TableTaken, r.TableUsed = n.table.Memory()
	if n.cluster == nil {
		n.aloneReadings(&r)
		return r
	}
	s, c := n.cluster.Status(), n.cluster.Counts()
	r.Leases, r.Members, r.CopyLag, r.Unsent = n.cluster.LeasesInUse(), s.Members, s.CopyLag, s.Unsent
	r.Partitions = partitionStates(s.Owned, s.Held, s.Waiting, s.Copies, s.Uncopied)
	r.Views, r.Waits, r.Received = c.Views, c.Waited, c.Received
	for why := ownership.Promote; why <= ownership.Begin; why++ {
		r.Rounds = append(r.Rounds, metrics.Rounds{Purpose: why.String(), Won: c.Rounds[why].Won, Withdrawn: c.Rounds[why].Withdrawn})
	}
	f := &c.Forwarded
	r.Forwards = []metrics.Result{{Name: "decided", Count: f.Decided}, {Name: "undecided", Count: f.Undecided}, {Name: "unknown", Count: f.Unknown}, {Name: "failed", Count: f.Failed}}
	return r
}

// TableMemory returns how many bytes the node has taken for keys. They are not in Go's heap.
func (n *Node) TableMemory() int64 {
	taken, _ := n.table.Memory()
	return taken
}

// aloneReadings are those of a node that is alone for good: it holds all, and nobody has a copy.
func (n *Node) aloneReadings(r *metrics.Readings) {
	now, _ := n.clock()
	for p := range limiter.PartitionID(Partitions) {
		r.Leases += n.table.CountLeases(p, now)
	}
	r.Members = 1
	r.Partitions = partitionStates(Partitions, Partitions, 0, 0, Partitions)
}

func partitionStates(owned, held, waiting, copies, uncopied int) []metrics.State {
	return []metrics.State{
		{Name: "owned", Count: owned}, {Name: "held", Count: held}, {Name: "waiting", Count: waiting},
		{Name: "copies", Count: copies}, {Name: "uncopied", Count: uncopied},
	}
}
