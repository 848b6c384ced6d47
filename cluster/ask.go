package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// How often a call is forwarded at most; and how long one that cannot go on waits before it
// looks again, if nothing tells it to before: each time longer, up to the slowest.
const (
	maxHops     = 2
	lookPace    = 2 * time.Millisecond
	lookSlowest = 16 * time.Millisecond
	crowdPace   = 20 * time.Microsecond // for each question that waits: then they take less than half a processor
	crowdMost   = 100 * time.Millisecond
)

// ErrUnknownTier is returned for a tier that the deciding node does not have.
var ErrUnknownTier = errors.New("the deciding node has no such tier")

// Ask has calls decided, each by the node that holds its partition: this one, or another.
// It returns when each has its answer, at the latest a moment after its deadline: lookSlowest, or
// a tick if its copies are waited for. Answers that are Undecided or Unknown at the end are final.
func (n *Node) Ask(ctx context.Context, calls []*peer.Call) []peer.Answer {
	answers := make([]peer.Answer, len(calls))
	var all sync.WaitGroup
	all.Add(len(calls))
	n.Decide(ctx, calls, func(i int, a peer.Answer) {
		answers[i] = a
		all.Done()
	})
	all.Wait()
	return answers
}

// Decide is Ask for who does not wait: it calls done once for each call, from any goroutine.
func (n *Node) Decide(ctx context.Context, calls []*peer.Call, done func(i int, a peer.Answer)) {
	now := n.Clock()
	refused := n.refusing.Load() || n.stalls.now(now)
	var rest []int
	for i, c := range calls {
		if refused || int(c.Key.Partition) >= n.Partitions {
			done(i, peer.Answer{Undecided: true})
			continue
		}
		if c.Kind == peer.Check {
			if a, ok := n.check(c); ok {
				n.tell(ctx, c, a, now, func(a peer.Answer) { done(i, a) })
				continue
			}
		}
		rest = append(rest, i)
	}
	if len(rest) == 0 {
		return
	}
	q := &question{n: n, ctx: ctx, calls: calls, done: done}
	stirred := n.stirred.Load()
	if waiting := q.step(rest, lookPace); len(waiting) > 0 {
		n.counts.waited.Add(uint64(len(waiting)))
		go q.pursue(waiting, lookPace, stirred)
	}
}

func (h *handler) Decide(ctx context.Context, calls []*peer.Call, done func(i int, a peer.Answer)) {
	for _, c := range calls {
		if c.Kind == peer.Renew || c.Kind == peer.Release {
			c.Key = c.Ref.Key // which alone travels
		}
	}
	h.counts.received.Add(uint64(len(calls)))
	n := (*Node)(h)
	if spans := n.traceDecide(calls); spans != nil {
		told := done
		done = func(i int, a peer.Answer) {
			spans.end(i, a)
			told(i, a)
		}
	}
	n.Decide(ctx, calls, done)
}

// check decides a check here. It returns false if this node does not decide for the
// partition now.
func (n *Node) check(c *peer.Call) (a peer.Answer, ok bool) {
	tier := n.tier(c)
	if tier == nil {
		return peer.Answer{Err: ErrUnknownTier}, true
	}
	if c.Explain {
		a.Decision, a.Windows = n.table.Explain(c.Key, tier, limiter.Cost(c.Cost), n.Clock())
	} else {
		a.Decision = n.table.Check(c.Key, tier, limiter.Cost(c.Cost), n.Clock())
	}
	if a.Decision.Exactness == limiter.Undecided {
		return peer.Answer{}, false
	}
	if n.Clock() >= a.Decision.Permit { // another node may have decided since
		return peer.Answer{Unknown: true}, true
	}
	return a, true
}

// Strict tells whether what a node allows may be told only once its copies have it, so that
// not even a split lets a key have more than its limit.
func (n *Node) Strict() bool { return n.MinMembers > 1 }

// tell tells what a check decided here, not before an instant, when it may be told.
func (n *Node) tell(ctx context.Context, c *peer.Call, a peer.Answer, at limiter.Instant, told func(peer.Answer)) {
	if !n.Strict() || !a.Decision.Allowed || c.Cost == 0 {
		told(a)
		return
	}
	n.tellSafe(ctx, c, a, at, told)
}

// tellSafe tells what was decided here, not before an instant, once every copy has it.
func (n *Node) tellSafe(ctx context.Context, c *peer.Call, a peer.Answer, at limiter.Instant, told func(peer.Answer)) {
	n.whenSafe(waiter{partition: c.Key.Partition, at: at, until: c.Deadline, ctx: ctx, tell: func(safe bool) {
		if !safe {
			a = peer.Answer{Unknown: true}
		}
		told(a)
	}})
}

// question is a set of calls that are on their way to their holders.
type question struct {
	n     *Node
	ctx   context.Context
	calls []*peer.Call
	done  func(i int, a peer.Answer)
}

// pursue brings calls on that could not go on as things stood when stirred was the node's.
func (q *question) pursue(waiting []int, pace time.Duration, stirred *chan struct{}) {
	q.n.pursuing.Add(1)
	defer q.n.pursuing.Add(-1)
	for ; len(waiting) > 0; pace = slower(pace) {
		q.pause(stirred, q.patience(waiting, pace))
		stirred = q.n.stirred.Load()
		waiting = q.step(waiting, slower(pace))
	}
}

// patience is how long calls wait until they look again, if nothing tells them to before: the longer,
// the more do. While a node is gone many thousands wait, and the others must hear this one.
func (q *question) patience(waiting []int, pace time.Duration) time.Duration {
	crowd := min(time.Duration(q.n.pursuing.Load())*crowdPace, crowdMost)
	if crowd <= pace {
		return pace
	}
	now := q.n.Clock()
	for _, i := range waiting {
		crowd = min(crowd, q.calls[i].Deadline.Sub(now))
	}
	return max(pace, crowd)
}

// step decides and forwards what can be now, and returns the rest. It does not block.
func (q *question) step(rest []int, pace time.Duration) (waiting []int) {
	waiting, groups := q.sort(rest)
	for to, group := range groups {
		q.forward(to, group, pace)
	}
	return waiting
}

// slower is the pace of a call that has waited at this pace in vain.
func slower(pace time.Duration) time.Duration { return min(2*pace, lookSlowest) }

// sort decides what can be decided here, and tells the others apart by where they must go.
func (q *question) sort(rest []int) (waiting []int, groups map[string][]int) {
	now := q.n.Clock()
	for _, i := range rest {
		c := q.calls[i]
		r := q.n.route(c.Key.Partition)
		switch {
		case now >= c.Deadline || q.ctx.Err() != nil:
			q.done(i, peer.Answer{Undecided: true, Holder: r.Holder})
		case c.Kind != peer.Check && r.Held && r.permitted && q.lease(i):
		case c.Kind == peer.Check && q.here(i, r):
		case r.Held || r.Holder == "" && c.Hops == 0:
			waiting = append(waiting, i)
		case r.Holder == "" || r.Holder == q.n.Name || c.Hops >= maxHops:
			if c.Hops > 0 {
				q.done(i, peer.Answer{Undecided: true, Holder: r.Holder})
			} else {
				waiting = append(waiting, i)
			}
		default:
			if groups == nil {
				groups = make(map[string][]int)
			}
			groups[r.Holder] = append(groups[r.Holder], i)
		}
	}
	return waiting, groups
}

// here tries to decide a check in this node, by its table or by what it remembers.
func (q *question) here(i int, r *route) bool {
	c, now := q.calls[i], q.n.Clock()
	if a, ok := q.n.check(c); ok {
		q.n.tell(q.ctx, c, a, now, func(a peer.Answer) { q.done(i, a) })
		return true
	}
	if r.Held || c.Explain {
		return false
	}
	if d, ok := q.n.denials.find(denialKey{c.Key, c.Tier, c.Cost}, now); ok {
		q.done(i, peer.Answer{Decision: d})
		return true
	}
	return false
}

// pause waits until any route has changed since stirred was loaded, or a moment.
func (q *question) pause(stirred *chan struct{}, pace time.Duration) {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	select {
	case <-*stirred:
	case <-timer.C:
	case <-q.ctx.Done():
	}
}

// forward sends calls to the node that holds their partitions. What comes back undecided is
// pursued further; what was written and not answered is never sent again.
func (q *question) forward(to string, group []int, pace time.Duration) {
	n := q.n
	calls := make([]*peer.Call, len(group))
	for j, i := range group {
		c := *q.calls[i]
		c.Hops++
		calls[j] = &c
	}
	spans := n.traceForward(calls, to)
	asked := n.Clock()
	var mu sync.Mutex // guards again
	var again []int
	n.transport.Forward(q.ctx, to, calls, func(j int, a peer.Answer) {
		i := group[j]
		a.Forwarded = true
		spans.end(j, a)
		n.counts.came(&a)
		if !a.Undecided || calls[j].Hops > 1 {
			n.remember(calls[j], a, asked)
			q.done(i, a)
			return
		}
		// What is undecided goes on with what else came back by then, and waits for no other.
		mu.Lock()
		again = append(again, i)
		first := len(again) == 1
		mu.Unlock()
		if first {
			go func() {
				q.pause(n.stirred.Load(), pace)
				mu.Lock()
				rest := again
				again = nil
				mu.Unlock()
				stirred := n.stirred.Load()
				q.pursue(q.step(rest, slower(pace)), slower(pace), stirred)
			}()
		}
	})
}

// remember remembers what was just answered to a call that was asked then: it may have been long
// on its way.
func (n *Node) remember(c *peer.Call, a peer.Answer, asked limiter.Instant) {
	if c.Kind == peer.Check && !c.Explain && a.Err == nil && !a.Unknown {
		n.denials.note(denialKey{c.Key, c.Tier, c.Cost}, a.Decision, asked, n.Clock())
	}
}

// lease does what a call asks of leases, here, to be told when the copies have it. It returns
// false if this node does not decide for the partition now.
func (q *question) lease(i int) bool {
	c, now := q.calls[i], q.n.Clock()
	a, err := q.n.leaseHere(c)
	if errors.Is(err, limiter.ErrUndecided) {
		return false
	}
	if err != nil {
		a = peer.Answer{Err: err}
	}
	q.n.tellSafe(q.ctx, c, a, now, func(a peer.Answer) { q.done(i, a) })
	return true
}

func (n *Node) leaseHere(c *peer.Call) (a peer.Answer, err error) {
	switch c.Kind {
	case peer.Acquire:
		tier := n.tier(c)
		if tier == nil {
			return a, ErrUnknownTier
		}
		acquisition := limiter.Acquisition{
			Key: c.Key, Tier: tier, Run: c.Run, RunID: c.RunID, TaskID: c.TaskID, RequestID: c.RequestID, TTL: c.TTL, Nonce: c.Nonce,
		}
		if c.HasCost {
			cost := limiter.Cost(c.Cost)
			acquisition.Cost = &cost
		}
		a.Grant, err = n.table.Acquire(&acquisition, n.Clock())
	case peer.Renew:
		a.Left, err = n.table.Renew(c.Ref, c.TTL, n.tier(c), n.Clock())
	case peer.Release:
		a.Released, err = n.table.Release(c.Ref, n.Clock())
	}
	return a, err
}
