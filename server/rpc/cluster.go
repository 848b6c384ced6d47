package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Cluster has calls decided by the nodes that hold their keys, this one included. It
// returns when each has its answer: at the latest some 50 ms after its deadline, or after ctx has
// ended.
type Cluster interface {
	Ask(ctx context.Context, calls []*peer.Call) []peer.Answer
	// Strict tells whether all is to be asked, as what this node allows must be in its copies
	// before it is told.
	Strict() bool
}

// How long a call waits: defaultWait if its caller gave no deadline, and never beyond longestWait,
// which is as far ahead as nodes tell each other of deadlines.
const (
	defaultWait = 5 * time.Second
	longestWait = time.Hour
)

// deadline returns until when who called with ctx waits, by the node's clock.
func deadline(ctx context.Context, now limiter.Instant) limiter.Instant {
	return now.Add(timeLeft(ctx, defaultWait))
}

// timeLeft returns how long who called with ctx still waits: for otherwise, if ctx has no deadline.
func timeLeft(ctx context.Context, otherwise time.Duration) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return min(time.Until(at), longestWait)
	}
	return otherwise
}

// ask has one call decided.
func (s *service) ask(ctx context.Context, c *peer.Call) (peer.Answer, error) {
	a := s.cluster.Ask(ctx, []*peer.Call{c})[0]
	return a, answerError(a)
}

// answerError is why a call was not decided, or nil.
func answerError(a peer.Answer) error {
	switch {
	case a.Undecided:
		return unavailable("no node decided within the deadline")
	case a.Unknown:
		return unavailable("the node that decides did not say what it decided")
	case a.Err == nil:
		return nil
	case errors.Is(a.Err, limiter.ErrConflict):
		return runConflict()
	case errors.Is(a.Err, limiter.ErrGone):
		return leaseGone()
	}
	return unavailable(a.Err.Error())
}

// elsewhere makes a call of a check that this node does not decide.
func elsewhere(p *prepared) *peer.Call {
	return &peer.Call{Kind: peer.Check, Key: p.key, Tier: p.tier.Ref(), Of: p.tier, Cost: uint32(p.cost), Explain: p.explain}
}

// late is the error for a decision that came so late that another node may have decided
// otherwise since.
func late() error { return unavailable("the node was paused while it decided") }

// tellable tells whether decisions that may be told until an instant still may.
func (s *service) tellable(until limiter.Instant) bool {
	if s.cluster == nil {
		return true
	}
	now, _ := s.clock()
	return now < until
}

// acquireCall makes a call of an acquisition.
func acquireCall(a *limiter.Acquisition) *peer.Call {
	c := &peer.Call{
		Kind: peer.Acquire, Key: a.Key, Tier: a.Tier.Ref(), Of: a.Tier, Run: a.Run, RunID: a.RunID, TaskID: a.TaskID,
		RequestID: strings.Clone(a.RequestID), Nonce: a.Nonce, TTL: a.TTL,
	}
	if a.Cost != nil {
		c.HasCost, c.Cost = true, uint32(*a.Cost)
	}
	return c
}

// renewAll extends leases, each by the node that holds it.
func (s *service) renewAll(c *call, req *sluicev1.RenewRequest) *sluicev1.RenewResponse {
	resp := &sluicev1.RenewResponse{Results: make([]*sluicev1.LeaseRenewalResult, len(req.Leases))}
	until, trace := deadline(c.ctx, c.now), c.trace()
	var calls []*peer.Call
	var places []int
	for i, l := range req.Leases {
		ref, ttl, err := s.renewal(l, field{list: "leases", index: i})
		if err != nil {
			resp.Results[i] = renewalError(err)
			continue
		}
		calls = append(calls, &peer.Call{Kind: peer.Renew, Key: ref.Key, Ref: ref, TTL: ttl, Tier: c.rules.tierNames[ref.Tier], Deadline: until, Trace: trace})
		places = append(places, i)
	}
	for j, a := range s.cluster.Ask(c.ctx, calls) {
		if c.span != nil && a.Forwarded {
			c.span.Forwarded()
		}
		if err := answerError(a); err != nil {
			resp.Results[places[j]] = renewalError(err)
			continue
		}
		resp.Results[places[j]] = renewed(a.Left)
	}
	return resp
}
