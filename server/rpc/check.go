package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// check decides one request.
func (s *service) check(c *call, req *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, unavailable("the call's deadline had passed before it was decided")
	}
	// One allocation for all of the answer.
	out := new(struct {
		resp     sluicev1.CheckResponse
		decision sluicev1.Decision
		retry    uint32
	})
	until, away, err := s.decide(req, field{}, &out.decision, &out.retry)
	switch {
	case err != nil:
		return nil, err
	case away != nil:
		if err := s.decideAway(c.ctx, away, &out.decision, &out.retry); err != nil {
			return nil, err
		}
	case !s.tellable(until):
		return nil, late()
	}
	out.resp.Decision = &out.decision
	return &out.resp, nil
}

// checkBatch decides many requests.
func (s *service) checkBatch(c *call, req *sluicev1.CheckBatchRequest) (*sluicev1.CheckBatchResponse, error) {
	b, err := s.decideAll(c.ctx.Done(), req.GetChecks())
	if err != nil {
		return nil, err
	}
	now, _ := s.clock()
	if err := s.complete(c.ctx, b, deadline(c.ctx, now)); err != nil {
		return nil, err
	}
	return &sluicev1.CheckBatchResponse{Results: b.results}, nil
}

// decided is a batch of which all is decided that this node decides.
type decided struct {
	results []*sluicev1.CheckResult
	items   []item
	until   limiter.Instant // the decisions may be told until then
	away    []*peer.Call    // what another node decides,
	places  []int           // and where it belongs
}

// item is the memory of one result.
type item struct {
	result   sluicev1.CheckResult
	oneof    sluicev1.CheckResult_Decision
	decision sluicev1.Decision
	retry    uint32
}

func (it *item) decide() {
	it.oneof.Decision = &it.decision
	it.result.Result = &it.oneof
}

func (it *item) fail(err error) {
	it.result.Result = &sluicev1.CheckResult_Error{Error: toProto(err)}
}

// decideAll decides checks in their order. When done is closed nobody waits for the
// answer any more, and the rest is left undecided.
func (s *service) decideAll(done <-chan struct{}, checks []*sluicev1.CheckRequest) (*decided, error) {
	// A few allocations for all of the answer.
	b := &decided{results: make([]*sluicev1.CheckResult, len(checks)), items: make([]item, len(checks)), until: math.MaxInt64}
	for i, check := range checks {
		if i%256 == 0 {
			select {
			case <-done:
				return nil, unavailable("the call ended before all of it was decided")
			default:
			}
		}
		it := &b.items[i]
		b.results[i] = &it.result
		until, away, err := s.decide(check, field{list: "checks", index: i}, &it.decision, &it.retry)
		switch {
		case err != nil:
			it.fail(err)
		case away != nil:
			b.away, b.places = append(b.away, away), append(b.places, i)
		default:
			b.until = min(b.until, until)
			it.decide()
		}
	}
	return b, nil
}

// complete has the rest of a batch decided by other nodes, until a deadline.
func (s *service) complete(ctx context.Context, b *decided, until limiter.Instant) error {
	if !s.tellable(b.until) {
		return late()
	}
	if len(b.away) == 0 {
		return nil
	}
	for _, c := range b.away {
		c.Deadline = until
	}
	answers := s.cluster.Ask(ctx, b.away)
	_, wall := s.clock()
	for j, a := range answers {
		it := &b.items[b.places[j]]
		if err := answerError(a); err != nil {
			it.fail(err)
			continue
		}
		put(&it.decision, &it.retry, a.Decision, wall)
		it.decision.Windows = windows(a.Windows)
		it.decide()
	}
	return nil
}

// decideAway has one check decided by another node.
func (s *service) decideAway(ctx context.Context, c *peer.Call, d *sluicev1.Decision, retry *uint32) error {
	now, _ := s.clock()
	c.Deadline = deadline(ctx, now)
	a, err := s.ask(ctx, c)
	if err != nil {
		return err
	}
	_, wall := s.clock()
	put(d, retry, a.Decision, wall)
	d.Windows = windows(a.Windows)
	return nil
}

// decide decides req, which is at place at, and writes the answer into d, which may be told
// until an instant. retry is the memory for its retry_after_ms. If another node decides, the
// call to make is returned instead.
func (s *service) decide(req *sluicev1.CheckRequest, at field, d *sluicev1.Decision, retry *uint32) (until limiter.Instant, away *peer.Call, err error) {
	tier, refused, err := s.resolve(req.Key, req.Tier, at)
	if err != nil {
		return 0, nil, err
	}
	cost := limiter.Cost(1)
	if req.Cost != nil {
		if cost, err = costOf(*req.Cost, at, "cost"); err != nil {
			return 0, nil, err
		}
	}
	now, wall := s.clock()
	if refused != limiter.ReasonNone {
		put(d, retry, limiter.Decision{Reason: refused, Exactness: limiter.Exact, Limit: limitOf(tier)}, wall)
		return math.MaxInt64, nil, nil
	}
	key := s.hasher.Key(req.Key)
	if s.strict {
		return 0, elsewhere(key, tier, cost, req.Explain), nil
	}
	var decision limiter.Decision
	var states []limiter.WindowState
	if req.Explain {
		decision, states = s.table.Explain(key, tier, cost, now)
	} else {
		decision = s.table.Check(key, tier, cost, now)
	}
	if decision.Exactness == limiter.Undecided {
		return 0, elsewhere(key, tier, cost, req.Explain), nil
	}
	put(d, retry, decision, wall)
	if req.Explain {
		d.Windows = windows(states)
	}
	return decision.Permit, nil, nil
}

// resolve checks key and tier, and returns the tier that counts, or the reason why the
// key is refused.
func (s *service) resolve(key, tier string, at field) (*limiter.Tier, limiter.Reason, error) {
	if key == "" {
		at.name = "key"
		return nil, 0, at.invalid("is required")
	}
	if len(key) > limiter.MaxKeyLen {
		at.name = "key"
		return nil, 0, at.outOfRange(fmt.Sprintf("has %d bytes, must have 1 to %d", len(key), limiter.MaxKeyLen))
	}
	r, err := s.policy.Resolve(key, tier)
	if err != nil {
		at.name = "tier"
		if errors.Is(err, policy.ErrNoTier) {
			return nil, 0, at.invalid("is required, as the policy has no default tier")
		}
		return nil, 0, at.invalid("no such tier")
	}
	switch r.Status {
	case policy.Active:
		return r.Tier, limiter.ReasonNone, nil
	case policy.Suspended:
		return r.Tier, limiter.ReasonKeySuspended, nil
	case policy.Revoked:
		return r.Tier, limiter.ReasonKeyRevoked, nil
	default:
		return r.Tier, limiter.ReasonKeyUnknown, nil
	}
}

// limitOf returns the limit of a tier that may be nil.
func limitOf(t *limiter.Tier) uint32 {
	if t == nil {
		return 0
	}
	return t.Limit()
}

// costOf checks the cost in the field of that name.
func costOf(cost uint32, at field, name string) (limiter.Cost, error) {
	if limiter.Cost(cost) > limiter.MaxCost {
		at.name = name
		return 0, at.outOfRange(fmt.Sprintf("is %d, must be from 0 to %d", cost, limiter.MaxCost))
	}
	return limiter.Cost(cost), nil
}

// put writes a decision into d. retry is the memory for its retry_after_ms.
func put(d *sluicev1.Decision, retry *uint32, from limiter.Decision, wall time.Time) {
	d.Allowed = from.Allowed
	d.Limit = from.Limit
	d.Remaining = from.Remaining
	d.ResetUnix = ceilUnix(wall.Add(from.Reset))
	d.ResetAfterMs = inMillis(from.Reset)
	d.Reason = sluicev1.Reason(from.Reason)
	d.Exactness = sluicev1.Exactness(from.Exactness)
	if from.RetryAfter > 0 {
		*retry = inMillis(from.RetryAfter)
		d.RetryAfterMs = retry
	}
}

// ceilUnix returns t in Unix seconds, rounded up.
func ceilUnix(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}

// inMillis returns a duration of the engine, which is in whole milliseconds.
func inMillis(d time.Duration) uint32 { return uint32(d / time.Millisecond) }

func windows(states []limiter.WindowState) []*sluicev1.WindowState {
	if len(states) == 0 {
		return nil
	}
	out := make([]*sluicev1.WindowState, len(states))
	for i, s := range states {
		out[i] = &sluicev1.WindowState{
			Limit: s.Limit, PerMs: inMillis(s.Per), Used: s.Used, Remaining: s.Remaining, ResetAfterMs: inMillis(s.Reset),
		}
		if s.RetryAfter > 0 {
			retry := inMillis(s.RetryAfter)
			out[i].RetryAfterMs = &retry
		}
	}
	return out
}
