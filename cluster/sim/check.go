package sim

import (
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// checkPermits checks that of nodes that reach each other no two may decide.
func (w *world) checkPermits(n *node) {
	const grace = 150 * time.Millisecond
	for p := range w.partitions {
		if !n.permitted(p) {
			continue
		}
		for _, o := range w.nodes {
			if o == n || !o.permitted(p) || !w.net.reaches(n, o) {
				continue
			}
			since := max(w.net.changed[n.index][o.index], n.woke, o.woke, min(n.met[o.index], o.met[n.index]))
			if w.now.since(since) > grace {
				w.fail("two holders of partition %d: %s by %v and %s by %v", p, n.name, n.machine.Route(limiter.PartitionID(p)).Gen, o.name, o.machine.Route(limiter.PartitionID(p)).Gen)
			}
		}
	}
}

// checkCalm checks that the cluster has come to rest: each partition has one holder, the
// view's owner, with a copy at the successor.
func (w *world) checkCalm() {
	var up []*node
	for _, n := range w.nodes {
		if n.up {
			up = append(up, n)
		}
	}
	for _, n := range up {
		if n.view != up[0].view {
			w.fail("%s and %s go by different views", up[0].name, n.name)
		}
		if n.machine.Unsettled() {
			w.fail("%s has a remainder that nobody took", n.name)
		}
	}
	if w.failed != nil || len(up) == 0 {
		return
	}
	for p := range w.partitions {
		var holders []*node
		for _, n := range up {
			if n.machine.Route(limiter.PartitionID(p)).Held {
				holders = append(holders, n)
			}
		}
		if len(holders) != 1 {
			w.fail("partition %d has %d holders", p, len(holders))
			return
		}
		h := holders[0]
		v := w.views[h.view]
		if v.Owner(p) != h.name {
			w.fail("partition %d is held by %s, not by its owner %s", p, h.name, v.Owner(p))
		}
		if !h.permitted(p) {
			w.fail("partition %d: its holder %s is not permitted", p, h.name)
		}
		var want []string
		if s := v.Successor(p); s != "" {
			want = []string{s}
		}
		if copies := h.machine.Copies(limiter.PartitionID(p)); !slices.Equal(copies, want) {
			w.fail("partition %d of %s has copies at %v, not at its successor %s", p, h.name, copies, v.Successor(p))
		}
	}
}

// watch sees that every claim ends.
type watch struct {
	calm   moment   // since when nothing befell anybody, or from when on
	unheld []moment // since when each partition has had nobody who may decide
	rested bool     // what has to be so after a calm was found so
}

// most is how long the cluster may take, once calm returns, to come to rest.
const most = 10 * time.Second

// disturb notes that something befalls the cluster, for so long.
func (w *world) disturb(d time.Duration) {
	w.watch.calm, w.watch.rested = max(w.watch.calm, w.now.after(d)), false
}

// keepWatch looks at the cluster from time to time.
func (w *world) keepWatch() {
	w.put(w.now.after(100*time.Millisecond), func() {
		w.look()
		w.keepWatch()
	})
}

func (w *world) look() {
	c := &w.watch
	able := w.upCount() >= w.minMembers
	for p := range c.unheld {
		if !able || slices.ContainsFunc(w.nodes, func(n *node) bool { return n.permitted(p) }) {
			c.unheld[p] = w.now
		}
		if w.now.since(max(c.unheld[p], c.calm)) > most {
			w.fail("partition %d has had nobody to decide since %v, in a calm since %v", p, time.Duration(c.unheld[p]), time.Duration(c.calm))
		}
	}
	if able && !c.rested && !w.net.poor() && w.now.since(c.calm) > most {
		c.rested = true
		w.checkCalm()
	}
}
