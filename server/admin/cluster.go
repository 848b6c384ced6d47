package admin

import (
	"context"
	"iter"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// A Cluster tells of all its nodes what any of them knows. It is safe for concurrent use.
// An error means that whom to ask is not known or did not answer in time: the caller is
// told its text, and that a retry may help.
type Cluster interface {
	// Members asks every member how it is, the answering node among them. It ends when all
	// have answered or ctx ends. A member that did not answer comes with an error; of its
	// status only the name, and what others know of it, is set.
	Members(ctx context.Context) iter.Seq2[peer.NodeStatus, error]

	// Inspect asks the holder of k what it knows of it. tier is whose exactness to tell,
	// nil if the key has none.
	Inspect(ctx context.Context, k limiter.Key, tier *limiter.Tier) (peer.KeyStatus, error)

	// Leases returns at most most live leases, of k or, if k is nil, of all keys, in any
	// order, and whether there are more. Each is told once, by its holder.
	Leases(ctx context.Context, k *limiter.Key, most int) (leases []peer.LeaseStatus, more bool, err error)

	// Reset has the holder of k forget when units were admitted to it. It returns whether
	// there was anything to forget. Leases stay.
	Reset(ctx context.Context, k limiter.Key) (found bool, err error)
}
