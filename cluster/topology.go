package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/overten/sluice/cluster/gossip"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// Topology is the cluster as this node knows it. It is immutable.
type Topology struct {
	View    uint64 // its id; 0: the node has not joined
	Members []gossip.Meta
	Holders []string // by partition, ""; not known
}

// topology keeps the Topology for those who watch it.
type topology struct {
	mu      sync.Mutex // guards all below
	view    *ring.View
	list    []gossip.Meta
	holders []string
	now     *Topology     // nil: to be made anew
	changed chan struct{} // closed at the next change
}

func (t *topology) init() { t.changed = make(chan struct{}) }

// Topology returns the cluster as it is known now, and a channel that is closed when that
// changes.
func (n *Node) Topology() (*Topology, <-chan struct{}) {
	t := &n.topology
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		t.now = &Topology{Members: t.list, Holders: slices.Clone(t.holders)}
		if t.view != nil {
			t.now.View = t.view.ID()
		}
	}
	return t.now, t.changed
}

func (t *topology) stirLocked() {
	t.now = nil
	close(t.changed)
	t.changed = make(chan struct{})
}

// members takes a new view, and what is known of its members.
func (t *topology) members(v *ring.View, list []gossip.Meta, self gossip.Meta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.view == nil {
		t.holders = make([]string, v.Partitions())
	}
	t.view, t.list = v, []gossip.Meta{self}
	for _, m := range list {
		if m.Name != self.Name {
			t.list = append(t.list, m)
		}
	}
	slices.SortFunc(t.list, func(a, b gossip.Meta) int { return strings.Compare(a.Name, b.Name) })
	t.stirLocked()
}

// moved takes that a partition has another holder.
func (t *topology) moved(p limiter.PartitionID, holder string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holders == nil || holder == "" {
		return // the last one known is the best guess
	}
	t.holders[p] = holder
	t.stirLocked()
}

// viewID writes the id of a view for people.
func viewID(id uint64) string { return fmt.Sprintf("%016x", id) }
