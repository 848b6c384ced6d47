package rpc

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Topology knows where keys are decided.
type Topology interface {
	// Topology returns what is known now, and a channel that is closed when that changes.
	Topology() (now TopologyState, changed <-chan struct{})
}

// TopologyState is a cluster as one of its nodes knows it. It is not changed once told.
type TopologyState struct {
	ViewID     uint64 // 0: not known yet; clients are told nothing then
	Nodes      []TopologyNode
	Holders    []string // the name of the node that decides, by partition; "": not known
	AnsweredBy string   // the name of this node, which is one of Nodes
}

// TopologyNode is a member of the cluster.
type TopologyNode struct {
	Name     string
	Address  string // for gateways, host:port
	Draining bool
}

// topologyPause is the least time between two messages to a client: while partitions move
// one by one it is told of many at once.
const topologyPause = 20 * time.Millisecond

// topologyServer serves sluice.v1.TopologyService.
type topologyServer struct {
	sluicev1.UnimplementedTopologyServiceServer
	topology   Topology
	routingKey []byte
	draining   <-chan struct{}
	log        *slog.Logger
	watching   atomic.Int64 // clients that are told

	mu      sync.Mutex // guards what follows
	last    *sluicev1.WatchResponse
	changed <-chan struct{} // that last is true until it is closed
}

// The pause is the longer the more clients are told: while partitions move, to tell of it takes a part
// of a processor, however many they are.
const (
	perWatcher = 50 * time.Microsecond
	mostPause  = time.Second
)

// now returns the topology as it is told, the same one as long as it says the same, so that it is
// made once for all clients.
func (t *topologyServer) now() (*sluicev1.WatchResponse, <-chan struct{}) {
	state, changed := t.topology.Topology()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.changed != changed {
		if resp := t.response(state); !proto.Equal(resp, t.last) {
			t.last = resp
		}
		t.changed = changed
	}
	return t.last, changed
}

// Watch sends the topology whenever it changes. As with CheckStream the handler itself only
// watches for the end, so that a client that does not read holds up no shutdown.
func (t *topologyServer) Watch(_ *sluicev1.WatchRequest, stream grpc.ServerStreamingServer[sluicev1.WatchResponse]) (err error) {
	c := newCall(stream.Context(), "Watch")
	defer c.finish(t.log, &err)
	if c.sent {
		c.tell()
	}
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- t.follow(ctx, stream.Send) }()
	select {
	case err := <-ended:
		return err
	case <-t.draining:
		return unavailable("the node is shutting down")
	}
}

// follow sends the topology now and at each change, until ctx ends or send fails.
func (t *topologyServer) follow(ctx context.Context, send func(*sluicev1.WatchResponse) error) error {
	t.watching.Add(1)
	defer t.watching.Add(-1)
	var told *sluicev1.WatchResponse
	for {
		resp, changed := t.now()
		if resp.ViewId != 0 && resp != told {
			if err := send(resp); err != nil {
				return err
			}
			told = resp
			if !pause(ctx, min(max(topologyPause, time.Duration(t.watching.Load())*perWatcher), mostPause)) {
				return status.FromContextError(ctx.Err()).Err()
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// pause waits for d, and returns false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *topologyServer) response(s TopologyState) *sluicev1.WatchResponse {
	resp := &sluicev1.WatchResponse{
		ViewId: s.ViewID, RoutingKey: t.routingKey, AnsweredBy: s.AnsweredBy,
		Nodes: make([]*sluicev1.Node, len(s.Nodes)), Holders: make([]uint32, len(s.Holders)),
	}
	place := make(map[string]uint32, len(s.Nodes)) // plus one
	for i, n := range s.Nodes {
		resp.Nodes[i] = &sluicev1.Node{Name: n.Name, Address: n.Address, Draining: n.Draining}
		place[n.Name] = uint32(i) + 1
	}
	for p, holder := range s.Holders {
		resp.Holders[p] = place[holder] // 0: not known, or not a member any more
	}
	return resp
}
