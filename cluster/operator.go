package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// Status says how this node is.
func (n *Node) Status() peer.NodeStatus {
	s := peer.NodeStatus{
		Name: n.Name, Boot: n.Boot(), Version: n.Version, State: peer.Joining, GRPC: n.GRPC, Peer: n.Peer, Admin: n.Admin,
		Uptime: time.Since(n.started), Policy: n.rules.Load().Policy, Keys: n.table.Keys(),
	}
	n.do(func(m *ownership.Machine, _ limiter.Instant) {
		of := m.Status()
		s.View, s.Members, s.Owned, s.Held, s.Waiting = of.View, of.Members, of.Owned, of.Held, of.Waiting
		s.Copies, s.Uncopied, s.Unsent, s.CopyLag = of.Copies, of.Uncopied, of.Unsent, of.CopyLag
		switch {
		case n.draining.Load():
			s.State = peer.Draining
		case !of.Enough:
			s.State = peer.Refusing
		default:
			s.State = peer.Serving
		}
	})
	return s
}

func (h *handler) Status() peer.NodeStatus { return (*Node)(h).Status() }

// Members asks every member how it is, this one included, all at once.
func (n *Node) Members(ctx context.Context) iter.Seq2[peer.NodeStatus, error] {
	return func(yield func(peer.NodeStatus, error) bool) {
		top, _ := n.Topology()
		type answer struct {
			status peer.NodeStatus
			err    error
		}
		answers := make([]answer, len(top.Members))
		var all sync.WaitGroup
		for i, m := range top.Members {
			all.Go(func() {
				if m.Name == n.Name {
					answers[i].status = n.Status()
					return
				}
				s, err := n.transport.Status(ctx, m.Name)
				if err != nil {
					s = peer.NodeStatus{Name: m.Name, Boot: m.Boot, GRPC: m.GRPC, Peer: m.Peer, Admin: m.Admin}
				}
				answers[i] = answer{s, err}
			})
		}
		all.Wait()
		for _, a := range answers {
			if !yield(a.status, a.err) {
				return
			}
		}
	}
}

var errNotHeld = errors.New("this node does not hold the key's partition")

// holder returns the node that holds a key's partition, "" for this one.
func (n *Node) holder(k limiter.Key) (string, error) {
	r := n.route(k.Partition)
	switch {
	case r.Held:
		return "", nil
	case r.Holder == "":
		return "", fmt.Errorf("no node is known to hold partition %d", k.Partition)
	}
	return r.Holder, nil
}

// Inspect asks the holder of k what it knows of it. tier is whose exactness to tell; it may
// be nil.
func (n *Node) Inspect(ctx context.Context, k limiter.Key, tier *limiter.Tier) (peer.KeyStatus, error) {
	name := ""
	if tier != nil {
		name = tier.Ref()
	}
	to, err := n.holder(k)
	switch {
	case err != nil:
		return peer.KeyStatus{}, err
	case to != "":
		return n.transport.Inspect(ctx, to, k, name)
	}
	return (*handler)(n).Inspect(ctx, k, name)
}

// Inspect explains a key whose partition this node holds.
func (h *handler) Inspect(_ context.Context, k limiter.Key, tier string) (s peer.KeyStatus, err error) {
	n := (*Node)(h)
	if int(k.Partition) >= n.Partitions {
		return s, errNotHeld
	}
	now := n.Clock()
	n.do(func(m *ownership.Machine, _ limiter.Instant) {
		r := m.Route(k.Partition)
		if !r.Held {
			err = errNotHeld
			return
		}
		s.Generation, s.Copies, s.Permitted = r.Gen.String(), m.Copies(k.Partition), r.Until > now
	})
	if err != nil {
		return s, err
	}
	s.Node, s.Partition = n.Name, k.Partition
	s.State, s.Found = n.table.Inspect(k, now)
	s.Age = func(at limiter.Instant) time.Duration { return now.Sub(at) }
	if t := n.rules.Load().Tier(tier); t != nil {
		s.Exactness = n.table.Check(k, t, 0, now).Exactness
	}
	return s, nil
}

// Leases returns at most most live leases, of k or, if k is nil, of all keys, and whether
// there are more.
func (n *Node) Leases(ctx context.Context, k *limiter.Key, most int) (leases []peer.LeaseStatus, more bool, err error) {
	if k != nil {
		to, err := n.holder(*k)
		switch {
		case err != nil:
			return nil, false, err
		case to != "":
			return n.transport.Leases(ctx, to, k, most)
		}
		return (*handler)(n).Leases(ctx, k, most)
	}
	top, _ := n.Topology()
	for _, m := range top.Members {
		var some []peer.LeaseStatus
		var further bool
		if m.Name == n.Name {
			some, further, err = (*handler)(n).Leases(ctx, nil, most-len(leases))
		} else {
			some, further, err = n.transport.Leases(ctx, m.Name, nil, most-len(leases))
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", m.Name, err)
		}
		leases, more = append(leases, some...), more || further
	}
	return leases, more, nil
}

// Leases returns live leases of the partitions that this node holds.
func (h *handler) Leases(_ context.Context, k *limiter.Key, most int) (leases []peer.LeaseStatus, more bool, err error) {
	n := (*Node)(h)
	now := n.Clock()
	var of *limiter.Identity
	if k != nil {
		of = &k.ID
	}
	for p := range n.Partitions {
		id := limiter.PartitionID(p)
		if k != nil && k.Partition != id || !n.route(id).Held {
			continue
		}
		some, further := n.table.Leases(id, of, most-len(leases), now)
		for _, l := range some {
			leases = append(leases, peer.LeaseStatus{
				Node: n.Name, Key: limiter.Key{Partition: id, ID: l.Of}, RunID: l.RunID, TaskID: l.TaskID, RequestID: l.RequestID,
				Tier: l.Tier, Age: now.Sub(l.Acquired), Left: l.Expiry.Sub(now),
			})
		}
		if further {
			return leases, true, nil
		}
	}
	return leases, false, nil
}

// Reset has the holder of k forget when units were admitted to it, and tells whether there
// was anything to forget.
func (n *Node) Reset(ctx context.Context, k limiter.Key) (found bool, err error) {
	to, err := n.holder(k)
	switch {
	case err != nil:
		return false, err
	case to != "":
		return n.transport.Reset(ctx, to, k)
	}
	return (*handler)(n).Reset(ctx, k)
}

// Reset forgets the history of a key whose partition this node holds.
func (h *handler) Reset(_ context.Context, k limiter.Key) (found bool, err error) {
	n := (*Node)(h)
	if int(k.Partition) >= n.Partitions {
		return false, errNotHeld
	}
	return n.table.Reset(k, n.Clock())
}
