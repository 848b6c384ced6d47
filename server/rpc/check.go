package rpc

import (
	"errors"
	"fmt"
	"time"

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
	if err := s.decide(req, field{}, &out.decision, &out.retry); err != nil {
		return nil, err
	}
	out.resp.Decision = &out.decision
	return &out.resp, nil
}

// checkBatch decides many requests.
func (s *service) checkBatch(c *call, req *sluicev1.CheckBatchRequest) (*sluicev1.CheckBatchResponse, error) {
	results, err := s.decideAll(c.ctx.Done(), req.GetChecks())
	if err != nil {
		return nil, err
	}
	return &sluicev1.CheckBatchResponse{Results: results}, nil
}

// decideAll decides checks in their order. When done is closed nobody waits for the
// answer any more, and the rest is left undecided.
func (s *service) decideAll(done <-chan struct{}, checks []*sluicev1.CheckRequest) ([]*sluicev1.CheckResult, error) {
	// A few allocations for all of the answer.
	type item struct {
		result   sluicev1.CheckResult
		oneof    sluicev1.CheckResult_Decision
		decision sluicev1.Decision
		retry    uint32
	}
	items := make([]item, len(checks))
	results := make([]*sluicev1.CheckResult, len(checks))
	for i, check := range checks {
		if i%256 == 0 {
			select {
			case <-done:
				return nil, unavailable("the call ended before all of it was decided")
			default:
			}
		}
		it := &items[i]
		results[i] = &it.result
		if err := s.decide(check, field{list: "checks", index: i}, &it.decision, &it.retry); err != nil {
			it.result.Result = &sluicev1.CheckResult_Error{Error: toProto(err)}
			continue
		}
		it.oneof.Decision = &it.decision
		it.result.Result = &it.oneof
	}
	return results, nil
}

// decide decides req, which is at place at, and writes the answer into d. retry is the
// memory for its retry_after_ms.
func (s *service) decide(req *sluicev1.CheckRequest, at field, d *sluicev1.Decision, retry *uint32) error {
	tier, refused, err := s.resolve(req.Key, req.Tier, at)
	if err != nil {
		return err
	}
	cost := limiter.Cost(1)
	if req.Cost != nil {
		if cost, err = costOf(*req.Cost, at, "cost"); err != nil {
			return err
		}
	}
	now, wall := s.clock()
	if refused != limiter.ReasonNone {
		put(d, retry, limiter.Decision{Reason: refused, Exactness: limiter.Exact, Limit: limitOf(tier)}, wall)
		return nil
	}
	key := s.hasher.Key(req.Key)
	if !req.Explain {
		put(d, retry, s.table.Check(key, tier, cost, now), wall)
		return nil
	}
	decision, states := s.table.Explain(key, tier, cost, now)
	put(d, retry, decision, wall)
	d.Windows = windows(states)
	return nil
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
