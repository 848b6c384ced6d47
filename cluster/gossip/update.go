package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Update tells the others new metadata of this node: that it drains, a higher boot number, a policy.
// The name and what members must agree on cannot change. It does not wait until they have heard.
func (g *Gossip) Update(m Meta) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	m.Gossip = ""
	b, err := m.encode()
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.mu.Lock()
	if g.down || g.left != nil {
		g.mu.Unlock()
		return ErrStopped
	}
	if m.Name != g.meta.Name {
		g.mu.Unlock()
		return fmt.Errorf("gossip: name: cannot change from %q to %q", g.meta.Name, m.Name)
	}
	if err := incompatible(g.meta, m); err != nil {
		g.mu.Unlock()
		return fmt.Errorf("gossip: what members must agree on cannot change: %w", err)
	}
	g.meta, g.encoded = m, b
	g.mu.Unlock()
	g.spread()
	select {
	case g.updated <- struct{}{}:
	default: // it has been told
	}
	return nil
}

// spread queues news of this node.
func (g *Gossip) spread() {
	// All that it can report is that it was not sent within this time: it will be.
	_ = g.list.UpdateNode(time.Nanosecond)
}

// repetitions are how long after it, in intervals of gossip, news of this node is told again. The
// queue underneath drops a message now and then when several of one length are in it, as when all
// nodes drain at the same time, or read another policy; and a packet may be lost. What was heard
// before changes nothing.
var repetitions = []int{5, 10, 20, 40}

// repeatLoop tells news of this node again.
func (g *Gossip) repeatLoop(ctx context.Context) {
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	var left []int
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.updated:
			left = repetitions
		case <-again.C:
			g.repeat()
			left = left[1:]
		}
		if len(left) > 0 {
			wait := time.Duration(left[0]) * g.config.Timing.Gossip
			again.Reset(wait/2 + rand.N(wait)) // not when the others do
		}
	}
}

// repeat tells news of this node again, unless it has left.
func (g *Gossip) repeat() {
	g.updating.Lock()
	defer g.updating.Unlock()
	g.mu.Lock()
	over := g.down || g.left != nil
	g.mu.Unlock()
	if !over {
		g.spread()
	}
}
