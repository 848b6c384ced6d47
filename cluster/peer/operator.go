package peer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// What operators ask is asked one by one, on the connection for calls. Of this node itself
// it is answered by its Handler.

// client returns the way to ask a node; nil: it is this one.
func (t *Transport) client(name string) (peerv1.PeerServiceClient, error) {
	if name == t.Name {
		return nil, nil
	}
	if n := t.node(name); n != nil {
		n.mu.Lock()
		conn := n.conn
		n.mu.Unlock()
		if conn != nil {
			return peerv1.NewPeerServiceClient(conn), nil
		}
	}
	return nil, fmt.Errorf("node %q is not connected", name)
}

// Status asks a node how it is.
func (t *Transport) Status(ctx context.Context, name string) (NodeStatus, error) {
	c, err := t.client(name)
	switch {
	case err != nil:
		return NodeStatus{}, err
	case c == nil:
		return t.Handler.Status(), nil
	}
	m, err := c.Status(ctx, new(peerv1.StatusRequest))
	if err != nil {
		return NodeStatus{}, said(name, err)
	}
	return NodeStatus{
		Name: m.GetName(), Boot: m.GetBoot(), Version: m.GetVersion(), State: NodeState(m.GetState()),
		GRPC: m.GetGrpc(), Peer: m.GetPeer(), Admin: m.GetAdmin(), Uptime: duration(m.GetUptimeNs()),
		View: m.GetView(), Members: int(m.GetMembers()), Policy: m.GetPolicy(), Keys: int(m.GetKeys()),
		Owned: int(m.GetOwned()), Held: int(m.GetHeld()), Waiting: int(m.GetWaiting()), Copies: int(m.GetCopies()),
		Uncopied: int(m.GetUncopied()), Unsent: int(m.GetUnsent()), CopyLag: duration(m.GetCopyLagNs()),
	}, nil
}

// Status says how this node is.
func (s *service) Status(context.Context, *peerv1.StatusRequest) (*peerv1.StatusResponse, error) {
	n := s.t.Handler.Status()
	return &peerv1.StatusResponse{
		Name: n.Name, Boot: n.Boot, Version: n.Version, State: string(n.State),
		Grpc: n.GRPC, Peer: n.Peer, Admin: n.Admin, UptimeNs: nanos(n.Uptime),
		View: n.View, Members: uint32(n.Members), Policy: n.Policy, Keys: uint64(n.Keys),
		Owned: uint32(n.Owned), Held: uint32(n.Held), Waiting: uint32(n.Waiting), Copies: uint32(n.Copies),
		Uncopied: uint32(n.Uncopied), Unsent: uint32(n.Unsent), CopyLagNs: nanos(n.CopyLag),
	}, nil
}

// Inspect asks a node about a key that it holds. tier may be empty. The instants in the
// answer are by this node's clock.
func (t *Transport) Inspect(ctx context.Context, name string, key limiter.Key, tier string) (KeyStatus, error) {
	c, err := t.client(name)
	switch {
	case err != nil:
		return KeyStatus{}, err
	case c == nil:
		return t.Handler.Inspect(ctx, key, tier)
	}
	m, err := c.Inspect(ctx, &peerv1.InspectRequest{Key: keyToProto(key), Tier: tier}, grpc.MaxCallRecvMsgSize(maxReport))
	if err != nil {
		return KeyStatus{}, said(name, err)
	}
	now := t.Clock()
	k := KeyStatus{
		Node: m.GetNode(), Partition: limiter.PartitionID(m.GetPartition()), Generation: m.GetGeneration(), Copies: m.GetCopies(),
		Permitted: m.GetPermitted(), Exactness: limiter.Exactness(min(m.GetExactness(), math.MaxUint8)), Found: m.GetFound(),
		State: limiter.KeyState{Horizon: duration(m.GetHorizonNs()), Tombstones: int(m.GetTombstones())},
		Age:   now.Sub,
	}
	for _, e := range m.GetHistory() {
		k.State.History = append(k.State.History, limiter.Entry{At: now.Add(-time.Duration(e.GetAgeNs())), Units: e.GetUnits()})
	}
	for _, l := range m.GetLeases() {
		k.State.Leases = append(k.State.Leases, limiter.Lease{
			Run: limiter.RunHashOf(l.GetRunHi(), l.GetRunLo()), RunID: l.GetRunId(), TaskID: l.GetTaskId(), RequestID: l.GetRequestId(),
			Tier: l.GetTier(), Nonce: l.GetNonce(),
			Acquired: now.Add(-time.Duration(l.GetAgeNs())), Expiry: now.Add(time.Duration(l.GetLeftNs())),
		})
	}
	return k, nil
}

// Inspect explains a key that this node holds.
func (s *service) Inspect(ctx context.Context, req *peerv1.InspectRequest) (*peerv1.InspectResponse, error) {
	key, err := keyOf(req.GetKey())
	if err != nil {
		return nil, err
	}
	k, err := s.t.Handler.Inspect(ctx, key, req.GetTier())
	if err != nil {
		return nil, say(err)
	}
	m := &peerv1.InspectResponse{
		Node: k.Node, Partition: uint32(k.Partition), Generation: k.Generation, Copies: k.Copies,
		Permitted: k.Permitted, Exactness: uint32(k.Exactness), Found: k.Found,
		HorizonNs: nanos(k.State.Horizon), Tombstones: uint32(k.State.Tombstones),
	}
	age := k.Age
	if age == nil {
		age = s.t.Clock().Sub
	}
	for _, e := range k.State.History {
		m.History = append(m.History, &peerv1.Entry{AgeNs: int64(age(e.At)), Units: e.Units})
	}
	for i := range k.State.Leases {
		l := &k.State.Leases[i]
		hi, lo := l.Run.Words()
		m.Leases = append(m.Leases, &peerv1.Lease{
			Key: keyToProto(key), RunHi: hi, RunLo: lo, Nonce: l.Nonce, RunId: l.RunID, TaskId: l.TaskID, RequestId: l.RequestID,
			Tier: l.Tier, AgeNs: int64(age(l.Acquired)), LeftNs: -int64(age(l.Expiry)), Node: k.Node,
		})
	}
	return m, nil
}

// Leases asks a node for leases of the partitions that it holds, or of one key (nil: all), at
// most most of them; more tells whether there are others.
func (t *Transport) Leases(ctx context.Context, name string, key *limiter.Key, most int) (leases []LeaseStatus, more bool, err error) {
	c, err := t.client(name)
	switch {
	case err != nil:
		return nil, false, err
	case c == nil:
		return t.Handler.Leases(ctx, key, most)
	}
	req := &peerv1.LeasesRequest{Most: uint32(min(max(most, 0), math.MaxInt32))}
	if key != nil {
		req.Key = keyToProto(*key)
	}
	m, err := c.Leases(ctx, req, grpc.MaxCallRecvMsgSize(maxReport))
	if err != nil {
		return nil, false, said(name, err)
	}
	for _, l := range m.GetLeases() {
		key, err := keyOf(l.GetKey())
		if err != nil {
			return nil, false, said(name, err)
		}
		leases = append(leases, LeaseStatus{
			Node: l.GetNode(), Key: key, RunID: l.GetRunId(), TaskID: l.GetTaskId(), RequestID: l.GetRequestId(), Tier: l.GetTier(),
			Age: time.Duration(l.GetAgeNs()), Left: time.Duration(l.GetLeftNs()),
		})
	}
	return leases, m.GetMore(), nil
}

// Leases lists leases of the partitions that this node holds.
func (s *service) Leases(ctx context.Context, req *peerv1.LeasesRequest) (*peerv1.LeasesResponse, error) {
	var of *limiter.Key
	if req.GetKey() != nil {
		key, err := keyOf(req.GetKey())
		if err != nil {
			return nil, err
		}
		of = &key
	}
	leases, more, err := s.t.Handler.Leases(ctx, of, int(min(req.GetMost(), math.MaxInt32)))
	if err != nil {
		return nil, say(err)
	}
	m := &peerv1.LeasesResponse{More: more}
	for i := range leases {
		l := &leases[i]
		m.Leases = append(m.Leases, &peerv1.Lease{
			Key: keyToProto(l.Key), RunId: l.RunID, TaskId: l.TaskID, RequestId: l.RequestID, Tier: l.Tier,
			AgeNs: int64(l.Age), LeftNs: int64(l.Left), Node: l.Node,
		})
	}
	return m, nil
}

// Reset asks a node to forget the history of a key that it holds, and tells whether there
// was one.
func (t *Transport) Reset(ctx context.Context, name string, key limiter.Key) (found bool, err error) {
	c, err := t.client(name)
	switch {
	case err != nil:
		return false, err
	case c == nil:
		return t.Handler.Reset(ctx, key)
	}
	m, err := c.Reset(ctx, &peerv1.ResetRequest{Key: keyToProto(key)})
	if err != nil {
		return false, said(name, err)
	}
	return m.GetFound(), nil
}

// Reset forgets the history of a key that this node holds.
func (s *service) Reset(ctx context.Context, req *peerv1.ResetRequest) (*peerv1.ResetResponse, error) {
	key, err := keyOf(req.GetKey())
	if err != nil {
		return nil, err
	}
	found, err := s.t.Handler.Reset(ctx, key)
	if err != nil {
		return nil, say(err)
	}
	return &peerv1.ResetResponse{Found: found}, nil
}

func keyToProto(k limiter.Key) *peerv1.Key {
	hi, lo := k.ID.Words()
	return &peerv1.Key{Partition: uint32(k.Partition), IdentityHi: hi, IdentityLo: lo}
}

func keyOf(m *peerv1.Key) (limiter.Key, error) {
	if m == nil || m.GetPartition() > math.MaxUint16 {
		return limiter.Key{}, status.Error(codes.InvalidArgument, "key is missing, or key.partition above 65535")
	}
	return limiter.Key{
		Partition: limiter.PartitionID(m.GetPartition()), ID: limiter.IdentityOf(m.GetIdentityHi(), m.GetIdentityLo()),
	}, nil
}

// say turns a Handler's error into one for the wire, and said turns it back.
func say(err error) error {
	if errors.Is(err, limiter.ErrUndecided) {
		return status.Error(codes.Aborted, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Unknown, short(err.Error()))
}

func said(name string, err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Aborted:
		return fmt.Errorf("node %q: %w", name, limiter.ErrUndecided)
	case codes.DeadlineExceeded:
		return fmt.Errorf("node %q: %w", name, context.DeadlineExceeded)
	case codes.Canceled:
		return fmt.Errorf("node %q: %w", name, context.Canceled)
	}
	return fmt.Errorf("node %q: %s", name, s.Message())
}
