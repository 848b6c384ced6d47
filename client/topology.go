package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dchest/siphash"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A topology is the nodes that may be asked and which of them decides for which
// key. It is immutable, and a hint: any node answers for every key.
type topology struct {
	nodes   []*node // the members, then what else the target names
	members int     // how many of nodes are members; all as long as none is known
	holders []*node // of each partition; nil: not known. Empty: no routing
	k0, k1  uint64  // the routing key
}

// partition returns the partition of key, or anywhere.
func (t *topology) partition(key string) int {
	if len(t.holders) == 0 {
		return anywhere
	}
	return int(siphash.Hash(t.k0, t.k1, []byte(key)) % uint64(len(t.holders)))
}

// holder returns the node that decides for a partition, nil if it is not known.
func (t *topology) holder(partition int) *node {
	if partition < 0 || partition >= len(t.holders) {
		return nil
	}
	return t.holders[partition]
}

// pick returns the node to ask, nil if q excludes all. The holder is best, then any
// member that is connected, stays and answers, then what else is left.
func (t *topology) pick(q *question, now time.Time) *node {
	if h := t.holder(q.partition); h != nil && h.fit() && !q.excludes(h) && h.admits(now) {
		return h
	}
	start := rand.IntN(len(t.nodes))
	for i := range t.members {
		if n := t.nodes[(start+i)%t.members]; n.fit() && !q.excludes(n) && n.admits(now) {
			return n
		}
	}
	var best *node
	bestRank := 0
	for i := range t.nodes {
		place := (start + i) % len(t.nodes)
		n := t.nodes[place]
		rank := 2 * n.rank()
		if place >= t.members {
			if len(q.owing) > 0 {
				continue // it may be a member by another name
			}
			rank++ // a member that is as good is better
		}
		if !q.excludes(n) && (best == nil || rank < bestRank) {
			best, bestRank = n, rank
		}
	}
	return best
}

// streams returns how many streams the checks for a node share.
func (t *topology) streams() uint32 {
	if t.members > 1 {
		return 1
	}
	return mostStreams
}

// another reports whether there is a member other than n to ask, should n be silent.
func (t *topology) another(q *question, n *node) bool {
	for _, other := range t.nodes[:t.members] {
		if other != n && other.promising() && !q.excludes(other) {
			return true
		}
	}
	return false
}

// avoided reports whether there is a member other than n that is connected, and only avoided.
func (t *topology) avoided(q *question, n *node) bool {
	for _, other := range t.nodes[:t.members] {
		if other != n && other.fit() && !q.excludes(other) {
			return true
		}
	}
	return false
}

// readTopology checks what a node says, and returns its routing key.
func readTopology(res *sluicev1.WatchResponse) (k0, k1 uint64, err error) {
	if len(res.GetNodes()) == 0 {
		return 0, 0, errors.New("nodes: is empty")
	}
	for i, n := range res.GetNodes() {
		if n.GetAddress() == "" {
			return 0, 0, fmt.Errorf("nodes[%d].address: is empty", i)
		}
	}
	for i, p := range res.GetHolders() {
		if int64(p) > int64(len(res.GetNodes())) {
			return 0, 0, fmt.Errorf("holders[%d]: is %d of %d nodes", i, p, len(res.GetNodes()))
		}
	}
	key := res.GetRoutingKey()
	if len(key) != 16 {
		return 0, 0, fmt.Errorf("routing_key: has %d bytes, must have 16", len(key))
	}
	return binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:]), nil
}
