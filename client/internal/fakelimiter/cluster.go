package fakelimiter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dchest/siphash"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// partitions of a Cluster; that of place i is held by node i modulo their number.
const partitions = 16

var routingKey = []byte("a routing key...")

// A Cluster is several nodes that serve one Limiter and tell who holds what. Each
// answers for every key, as real ones do.
type Cluster struct {
	*Limiter
	Nodes []*Node

	memory map[string]*bufconn.Listener // by address; nil if over loopback

	mu      sync.Mutex
	told    *sluicev1.WatchResponse // replaced, never changed
	changed chan struct{}           // closed when told is replaced
}

// StartCluster serves a Cluster over loopback until the test ends.
func StartCluster(t testing.TB, nodes int) *Cluster {
	t.Helper()
	listeners := make([]net.Listener, nodes)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	c := &Cluster{Limiter: newLimiter()}
	c.start(t, listeners, func(i int) string { return listeners[i].Addr().String() })
	return c
}

// StartClusterInMemory serves a Cluster, to be dialed with DialOption, until the
// test ends. It works in a testing/synctest bubble.
func StartClusterInMemory(t testing.TB, nodes int) *Cluster {
	t.Helper()
	c := &Cluster{Limiter: newLimiter(), memory: map[string]*bufconn.Listener{}}
	listeners := make([]net.Listener, nodes)
	address := func(i int) string { return fmt.Sprintf("10.0.0.%d:7070", i) }
	for i := range listeners {
		l := bufconn.Listen(1 << 20)
		listeners[i], c.memory[address(i)] = l, l
	}
	c.start(t, listeners, address)
	return c
}

func (c *Cluster) start(t testing.TB, listeners []net.Listener, address func(int) string) {
	c.Units, c.Slots = 1_000_000, 1000
	c.changed = make(chan struct{})
	c.told = &sluicev1.WatchResponse{ViewId: 1, RoutingKey: routingKey, Holders: make([]uint32, partitions)}
	for p := range c.told.Holders {
		c.told.Holders[p] = uint32(p%len(listeners)) + 1
	}
	for i, l := range listeners {
		n := newNode(c.Limiter, i)
		n.Address = address(i)
		sluicev1.RegisterTopologyServiceServer(n.server, &topology{cluster: c, node: n})
		c.Nodes = append(c.Nodes, n)
		c.told.Nodes = append(c.told.Nodes, &sluicev1.Node{Name: n.name(), Address: n.Address})
		n.serve(l)
		t.Cleanup(n.Stop)
	}
}

func (n *Node) name() string { return fmt.Sprintf("node-%d", n.place) }

// DialOption connects a client to a Cluster in memory.
func (c *Cluster) DialOption() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		l := c.memory[address]
		if l == nil {
			return nil, errors.New("connection refused")
		}
		return l.DialContext(ctx)
	})
}

// Target is the addresses of the nodes at the given places; of all, if none is given.
func (c *Cluster) Target(places ...int) string {
	var addresses []string
	for _, n := range c.Nodes {
		if len(places) == 0 || slices.Contains(places, n.place) {
			addresses = append(addresses, n.Address)
		}
	}
	return strings.Join(addresses, ",")
}

// Partition of a key.
func (c *Cluster) Partition(key string) int {
	k0, k1 := binary.LittleEndian.Uint64(routingKey), binary.LittleEndian.Uint64(routingKey[8:])
	return int(siphash.Hash(k0, k1, []byte(key)) % partitions)
}

// Key returns a key that the node at place holds when the Cluster starts.
func (c *Cluster) Key(place int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key-", i); c.Partition(key)%len(c.Nodes) == place {
			return key
		}
	}
}

// Tell changes the topology that the nodes tell.
func (c *Cluster) Tell(change func(*sluicev1.WatchResponse)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := proto.CloneOf(c.told)
	told.ViewId++
	change(told)
	c.told = told
	close(c.changed)
	c.changed = make(chan struct{})
}

// Drain tells that the node at place is draining.
func (c *Cluster) Drain(place int) {
	c.Tell(func(told *sluicev1.WatchResponse) { told.Nodes[place].Draining = true })
}

// Move tells that the node at place holds the partition of key.
func (c *Cluster) Move(key string, place int) {
	c.Tell(func(told *sluicev1.WatchResponse) { told.Holders[c.Partition(key)] = uint32(place) + 1 })
}

// Asked returns how many calls of method came to each node so far.
func (c *Cluster) Asked(method string) []int {
	asked := make([]int, len(c.Nodes))
	for _, call := range c.Calls(method) {
		asked[call.Node]++
	}
	return asked
}

// topology serves Watch on one node.
type topology struct {
	sluicev1.UnimplementedTopologyServiceServer
	cluster *Cluster
	node    *Node
}

// Watch tells the topology, and each change.
func (s *topology) Watch(_ *sluicev1.WatchRequest, stream sluicev1.TopologyService_WatchServer) error {
	for {
		s.cluster.mu.Lock()
		told, changed := s.cluster.told, s.cluster.changed
		s.cluster.mu.Unlock()
		if err := s.node.awake(stream.Context()); err != nil {
			return err
		}
		mine := proto.CloneOf(told)
		mine.AnsweredBy = s.node.name()
		if err := stream.Send(mine); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.node.leaving:
			return nil
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
