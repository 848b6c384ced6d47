package server

import (
	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/server/rpc"
)

// topology tells the face for gateways what the cluster looks like.
type topology struct{ of *cluster.Node }

func (t topology) Topology() (rpc.TopologyState, <-chan struct{}) {
	now, changed := t.of.Topology()
	s := rpc.TopologyState{ViewID: now.View, Holders: now.Holders, AnsweredBy: t.of.Name}
	for _, m := range now.Members {
		s.Nodes = append(s.Nodes, rpc.TopologyNode{Name: m.Name, Address: m.GRPC, Draining: m.Draining})
	}
	return s, changed
}
