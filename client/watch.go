package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// How the topology is subscribed to.
const (
	watchPause   = 50 * time.Millisecond // before the second try; doubled up to
	watchRest    = time.Second
	watchAbsent  = 30 * time.Second // if nodes have no such service, or a strange one
	watchPromise = time.Second      // within which a node must tell its topology

	// lingerFor is how long the connection of a node that left is kept for what
	// it may still answer.
	lingerFor = 5 * time.Second
)

var errTopology = errors.New("client: the topology is not understood")

// watch keeps the topology until the client is closed: it asks one node after
// the other, and stays with one that tells.
func (c *Client) watch() {
	var pause time.Duration
	for last := (*node)(nil); c.background.Err() == nil; {
		last = c.topology.Load().watchable(last)
		told, err := c.follow(last)
		most := watchRest
		switch {
		case told:
			pause = 0
		case status.Code(err) == codes.Unimplemented || errors.Is(err, errTopology):
			most = watchAbsent
		}
		pause = min(max(2*pause, watchPause), most)
		sleep(c.background, time.Duration(float64(pause)*(0.5+0.5*rand.Float64())))
	}
}

// watchable returns a node to watch, if possible not last: a member that may be
// asked, else any.
func (t *topology) watchable(last *node) *node {
	best := last
	start := rand.IntN(t.members)
	for i := range t.nodes {
		n := t.nodes[i]
		if i < t.members {
			n = t.nodes[(start+i)%t.members]
		}
		if n == last {
			continue
		}
		if n.fit() && n.avoided.Load() == 0 {
			return n
		}
		if best == last {
			best = n
		}
	}
	return best
}

// follow takes over the topologies that n tells until that ends, and reports
// whether there was one.
func (c *Client) follow(n *node) (told bool, err error) {
	ctx, cancel := context.WithCancel(c.background)
	defer cancel()
	// n may stand for several nodes: it is the one that tells which must not be silent.
	teller := n
	teller.following.Store(&cancel)
	defer func() { teller.following.Store(nil) }()
	promise := time.AfterFunc(watchPromise, cancel)
	defer promise.Stop()
	updates, err := sluicev1.NewTopologyServiceClient(n.conn).Watch(ctx, &sluicev1.WatchRequest{})
	if err != nil {
		return false, err
	}
	for {
		res, err := updates.Recv()
		if err != nil {
			return told, err
		}
		promise.Stop()
		member, err := c.apply(res)
		if err != nil {
			c.log.Warn("topology not understood", "node", n.address, "error", err)
			return false, errTopology
		}
		if member != nil && member != teller {
			teller.following.Store(nil)
			teller = member
			teller.following.Store(&cancel)
		}
		told = true
	}
}

// apply makes res the topology, and returns the member that told it, nil if it is
// not known. Only the watching goroutine calls it.
func (c *Client) apply(res *sluicev1.WatchResponse) (teller *node, err error) {
	k0, k1, err := readTopology(res)
	if err != nil {
		return nil, err
	}
	t := &topology{k0: k0, k1: k1}
	stays := map[*node]bool{}
	members := make([]*node, len(res.GetNodes())) // nil: cannot be dialed
	for i, member := range res.GetNodes() {
		n := c.known[member.GetAddress()]
		if n == nil {
			if n, err = newNode(member.GetAddress(), c.dial); err != nil {
				c.log.Warn("node cannot be dialed", "node", member.GetAddress(), "error", err)
				continue
			}
			c.known[n.address] = n
		}
		n.draining.Store(member.GetDraining())
		members[i] = n
		if member.GetName() == res.GetAnsweredBy() {
			teller = n
		}
		if !stays[n] {
			stays[n] = true
			t.nodes = append(t.nodes, n)
		}
	}
	t.members = len(t.nodes)
	for _, seed := range c.seeds {
		if !stays[seed] {
			seed.draining.Store(false)
			stays[seed] = true
			t.nodes = append(t.nodes, seed)
		}
	}
	if t.members == 0 {
		t.members = len(t.nodes)
	}
	t.holders = make([]*node, len(res.GetHolders()))
	for i, place := range res.GetHolders() {
		if place > 0 {
			t.holders[i] = members[place-1]
		}
	}
	c.topology.Store(t)
	c.leave(stays)
	return teller, nil
}

// leave ends the connections of nodes that are not in stays.
func (c *Client) leave(stays map[*node]bool) {
	for address, n := range c.known {
		if stays[n] {
			continue
		}
		delete(c.known, address)
		ok := c.spawn(func() {
			sleep(c.background, lingerFor)
			_ = n.close()
		})
		if !ok {
			_ = n.close()
		}
	}
}
