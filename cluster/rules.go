package cluster

import (
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// Rules are what a node decides by. They are immutable; nodes of a cluster should have the same,
// and differ for a moment when they change.
type Rules struct {
	Policy       string                         // fingerprint of the policy
	Tier         func(ref string) *limiter.Tier // by its Ref; nil if there is none
	Horizon      time.Duration                  // the longest window of any tier
	LargestLimit uint32                         // of any tier's windows
}

// SetRules has the node decide by other rules from now on, and tell the others that it does. A
// call under way is decided by the old or the new.
func (n *Node) SetRules(r Rules) {
	before := n.rules.Swap(&r)
	n.denials.forget() // of what has more room now
	n.do(func(m *ownership.Machine, _ limiter.Instant) { m.Horizon = r.Horizon })
	if before.Policy != r.Policy {
		n.retell()
	}
}

// tier returns the tier that counts for a call, nil if this node has no such tier.
func (n *Node) tier(c *peer.Call) *limiter.Tier {
	if c.Of != nil {
		return c.Of
	}
	return n.rules.Load().Tier(c.Tier)
}
