package peer

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// NodeStatus is what a node says of itself to operators.
type NodeStatus struct {
	Name     string
	Boot     uint64
	Version  string
	State    NodeState
	GRPC     string        // address for gateways
	Peer     string        // address for other nodes
	Admin    string        // address for operators
	Uptime   time.Duration // since the process started
	View     uint64        // id of the view that it goes by; 0: none yet
	Members  int           // in that view
	Policy   string        // fingerprint
	Keys     int           // with history or leases, copies included
	Owned    int           // partitions that the view gives it
	Held     int           // partitions that it decides for
	Waiting  int           // of those: not permitted at the moment
	Copies   int           // partitions that it has a complete copy of
	Uncopied int           // of those held: without a registered copy
	Unsent   int           // remainders of former holdings that nobody has taken yet
	CopyLag  time.Duration // age of the oldest change that a registered copy has not acknowledged
}

// NodeState is what a node is about.
type NodeState string

// The states of a node.
const (
	Joining  NodeState = "joining"  // holds nothing, as it has not met the others
	Serving  NodeState = "serving"  // decides
	Refusing NodeState = "refusing" // sees too few members to decide
	Draining NodeState = "draining" // hands over, to leave
)

// KeyStatus is one key explained by the node that holds its partition.
type KeyStatus struct {
	Node       string // that answers: the holder
	Partition  limiter.PartitionID
	Generation string
	Copies     []string // nodes with a registered copy
	Permitted  bool
	Exactness  limiter.Exactness // of an answer for the tier asked for
	Found      bool              // the key has a history or leases
	State      limiter.KeyState
	Age        func(limiter.Instant) time.Duration `json:"-"` // how long ago an instant of State was; negative: to come
}

// LeaseStatus is one live lease, as its holder knows it.
type LeaseStatus struct {
	Node      string // that answers: the holder
	Key       limiter.Key
	RunID     string // empty if the lease was adopted
	TaskID    string
	RequestID string
	Tier      string
	Age       time.Duration // since it was acquired, as far as is known
	Left      time.Duration // until it expires
}
