package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// Protocol is the version of what nodes say to each other. Nodes of different versions do
// not form a cluster.
const Protocol = 1

// Config says how a node takes part in its cluster. What has no default must be given.
type Config struct {
	Name       string // unique in the cluster; the same after a restart
	Partitions int
	Peer       string // host:port to listen on for other nodes; port 0: any free one
	Gossip     string // host:port to listen on for gossip, TCP and UDP; port 0: any free one
	Advertise  string // IP or host name by which others reach this node; "": that of Gossip
	GRPC       string // address for gateways that others are told
	Admin      string // address for operators that others are told; may be empty

	Join           []string      // seeds, host:port; none: the node starts alone
	BootstrapAfter time.Duration // with Join: start alone after so long in vain; 0: DefaultBootstrapAfter
	MinMembers     int           // with fewer members in view the node decides nothing; 0: 1
	Lost           ownership.Lost
	Label          string   // clusters of different labels never mix
	GossipKeys     [][]byte // AES keys: the first encrypts, all decrypt; none: gossip is plain

	Secrets  uint64                 // fingerprint of the secrets that all members share
	Rules    Rules                  // at first: see Node.SetRules
	Clock    func() limiter.Instant // monotonic, far above limiter.MaxPer from the start
	Version  string                 // of the program, for operators
	MaxKeys  int
	WhenFull limiter.WhenFull
	Log      *slog.Logger
	Tracer   Tracer // nil: nothing is traced

	Listen     func(address string) (net.Listener, error) // opens the port for other nodes; nil: as usual
	PeerServer []grpc.ServerOption                        // of that port, as credentials; may be nil
	PeerDial   []grpc.DialOption                          // to that of others; none: plain text
}

// DefaultBootstrapAfter is how long a node that is to join tries before it starts alone.
const DefaultBootstrapAfter = 10 * time.Second

func (c *Config) settle() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("name is required")
	case c.MinMembers < 0:
		return fmt.Errorf("min members is %d, must not be negative", c.MinMembers)
	case c.BootstrapAfter < 0:
		return fmt.Errorf("bootstrap after is %v, must not be negative", c.BootstrapAfter)
	case c.Lost > ownership.LostClosed:
		return fmt.Errorf("lost is %d, must be open, half or closed", c.Lost)
	}
	c.MinMembers = max(c.MinMembers, 1)
	if c.BootstrapAfter == 0 {
		c.BootstrapAfter = DefaultBootstrapAfter
	}
	if c.Listen == nil {
		c.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}
