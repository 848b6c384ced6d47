package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dchest/siphash"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// handTopology is a topology that the test sets.
type handTopology struct {
	mu      sync.Mutex
	state   TopologyState
	changed chan struct{}
}

func newTopology(s TopologyState) *handTopology {
	return &handTopology{state: s, changed: make(chan struct{})}
}

func (h *handTopology) Topology() (TopologyState, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, h.changed
}

func (h *handTopology) set(s TopologyState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = s
	close(h.changed)
	h.changed = make(chan struct{})
}

func two(view uint64, holders ...string) TopologyState {
	return TopologyState{
		ViewID:  view,
		Nodes:   []TopologyNode{{Name: "a", Address: "10.0.0.1:7070"}, {Name: "b", Address: "10.0.0.2:7070", Draining: true}},
		Holders: holders, AnsweredBy: "b",
	}
}

func (r *rig) watch(t *testing.T) sluicev1.TopologyService_WatchClient {
	t.Helper()
	w, err := sluicev1.NewTopologyServiceClient(r.conn).Watch(t.Context(), &sluicev1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A watcher is told the topology at once and at each change, and can find the holder of a
// key from that alone; when the node shuts down it is told to go elsewhere.
func TestWatchTellsTheTopology(t *testing.T) {
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 1000})
	topology := newTopology(two(7, "a", "b", "", "gone", "b", "a", "a"))
	c.Topology = topology
	r.serve(t, c)
	w := r.watch(t)
	got, err := w.Recv()
	if err != nil {
		t.Fatal(err)
	}
	want := &sluicev1.WatchResponse{
		ViewId:  7,
		Nodes:   []*sluicev1.Node{{Name: "a", Address: "10.0.0.1:7070"}, {Name: "b", Address: "10.0.0.2:7070", Draining: true}},
		Holders: []uint32{1, 2, 0, 0, 2, 1, 1}, RoutingKey: c.Hasher.RoutingKey(), AnsweredBy: "b",
	}
	if !proto.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	k := got.GetRoutingKey()
	p := siphash.Hash(binary.LittleEndian.Uint64(k), binary.LittleEndian.Uint64(k[8:]), []byte("some key")) % uint64(len(got.GetHolders()))
	if key := c.Hasher.Key("some key"); uint64(key.Partition) != p {
		t.Errorf("the key is in partition %d, by the message in %d", key.Partition, p)
	}
	topology.set(two(8, "b", "b", "b", "b", "b", "b", "b"))
	if got, err = w.Recv(); err != nil || got.GetViewId() != 8 || got.GetHolders()[0] != 2 {
		t.Errorf("after the change: %v, %v", got, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("the watcher held up the shutdown: %v", err)
	}
	_, err = w.Recv()
	notNow.check(t, err)
}

// Without a topology there is no such service.
func TestWatchOfALoneNode(t *testing.T) {
	r := serve(t, small)
	if _, err := r.watch(t).Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v, want UNIMPLEMENTED", err)
	}
}

// A watcher gets at most a message in 20 ms however much changes, the last of which is what
// holds; what is not known yet and what is as before is not told.
func TestWatchGathersChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topology := newTopology(TopologyState{Nodes: []TopologyNode{{Name: "a"}}, AnsweredBy: "a"})
		s := &topologyServer{topology: topology}
		var times []time.Duration
		var views []uint64
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- s.follow(ctx, func(resp *sluicev1.WatchResponse) error {
				times, views = append(times, time.Since(start)), append(views, resp.GetViewId())
				return nil
			})
		}()
		synctest.Wait()
		for view := range uint64(12) {
			time.Sleep(7 * time.Millisecond) // never together with a message
			topology.set(two(view+1, "a", "b"))
			synctest.Wait()
		}
		time.Sleep(time.Second)
		topology.set(two(12, "a", "b"))
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("ended with %v", err)
		}
		// The first change, and after each 20 ms what was newest.
		if want := []uint64{1, 3, 6, 9, 12}; !slices.Equal(views, want) {
			t.Errorf("views %v at %v, want %v", views, times, want)
		}
		for i := 1; i < len(times); i++ {
			if gap := times[i] - times[i-1]; gap < topologyPause {
				t.Errorf("message %d came %v after the one before", i, gap)
			}
		}
	})
}

// A client that is gone ends its watch.
func TestWatchEndsWithItsClient(t *testing.T) {
	gone := errors.New("gone")
	s := &topologyServer{topology: newTopology(two(1, "a"))}
	if err := s.follow(t.Context(), func(*sluicev1.WatchResponse) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("ended with %v", err)
	}
}

// What is told is made once for all clients, and tells one apart from the next: thousands of gateways
// took all of a node while partitions moved.
func TestWatchersShareWhatTheyAreTold(t *testing.T) {
	topology := newTopology(two(1, "a", "b"))
	s := &topologyServer{topology: topology}
	first, _ := s.now()
	if again, _ := s.now(); again != first {
		t.Error("it was made twice")
	}
	topology.set(two(1, "a", "b"))
	if same, _ := s.now(); same != first {
		t.Error("what says the same is told again")
	}
	topology.set(two(2, "b", "b"))
	if next, _ := s.now(); next == first || next.GetViewId() != 2 {
		t.Errorf("what is new is told as %+v", next)
	}
}
