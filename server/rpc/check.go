package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// check decides one request.
func (s *service) check(c *call, in *checkRequest) (mem.Buffer, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, unavailable("the call's deadline had passed before it was decided")
	}
	wall := wallClock(c.wall.UnixNano())
	d, windows, away, err := s.decide(&in.check, field{}, &c.counting, c.now)
	switch {
	case err != nil:
		return nil, err
	case away != nil:
		away.Deadline = deadline(c.ctx, c.now)
		a, err := s.ask(c.ctx, away)
		if err != nil {
			return nil, err
		}
		s.countAnswer(&c.counting, away, &a.Decision)
		d, windows = a.Decision, a.Windows
		_, wall = s.read()
	case !s.tellable(d.Permit):
		return nil, late()
	}
	return mem.SliceBuffer(appendCheckResponse(make([]byte, 0, resultBytes), &d, windows, wall)), nil
}

// checkBatch decides many requests.
func (s *service) checkBatch(c *call, in *batchRequest) (mem.Buffer, error) {
	b, err := s.decideAll(c.ctx.Done(), &c.counting, newBatchAnswer(1, nil, len(in.checks)), in.checks)
	if err != nil {
		return nil, err
	}
	if err := s.complete(c.ctx, b, deadline(c.ctx, c.now)); err != nil {
		return nil, err
	}
	return b.answer.buffer(), nil
}

// decided is a batch of which all is decided that this node decides.
type decided struct {
	count  *counting
	answer *batchAnswer
	until  limiter.Instant // the decisions may be told until then
	away   []*peer.Call    // what another node decides; the answer has gaps for them
}

// together is how many checks of a batch are decided by one reading of the clock. All of them
// come after their call and before their answer; and the wait that the first is told is not
// off by more than they take.
const together = 64

// decideAll decides checks in their order. When done is closed nobody waits for the
// answer any more, and the rest is left undecided.
func (s *service) decideAll(done <-chan struct{}, count *counting, answer *batchAnswer, checks []check) (*decided, error) {
	b := &decided{count: count, answer: answer, until: math.MaxInt64}
	var now limiter.Instant
	var wall wallClock
	for i := range checks {
		if i%together == 0 {
			select {
			case <-done:
				return nil, unavailable("the call ended before all of it was decided")
			default:
			}
			now, wall = s.read()
		}
		d, windows, away, err := s.decide(&checks[i], field{list: "checks", index: i}, count, now)
		switch {
		case err != nil:
			answer.fail(err)
		case away != nil:
			b.away = append(b.away, away)
			answer.gap()
		default:
			b.until = min(b.until, d.Permit)
			answer.decision(&d, windows, wall)
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
	_, wall := s.read()
	b.answer.fill(func(i int) {
		a := &answers[i]
		if err := answerError(*a); err != nil {
			b.answer.fail(err)
			return
		}
		s.countAnswer(b.count, b.away[i], &a.Decision)
		b.answer.decision(&a.Decision, a.Windows, wall)
	})
	return nil
}

// decide decides and counts a check, which is at place at. The decision may be told until its
// Permit. If another node decides, the call to make is returned instead.
func (s *service) decide(c *check, at field, count *counting, now limiter.Instant) (d limiter.Decision, windows []limiter.WindowState, away *peer.Call, err error) {
	tier, refused, err := s.resolve(c.key, c.tier, at)
	if err != nil {
		return d, nil, nil, err
	}
	cost := limiter.Cost(1)
	if c.costed {
		if cost, err = costOf(c.cost, at, "cost"); err != nil {
			return d, nil, nil, err
		}
	}
	if refused != limiter.ReasonNone {
		d = limiter.Decision{Reason: refused, Exactness: limiter.Exact, Limit: limitOf(tier), Permit: math.MaxInt64}
		count.checked(tier, &d)
		return d, nil, nil, nil
	}
	key := s.hasher.Key(c.key)
	if s.strict {
		return d, nil, elsewhere(key, tier, cost, c.explain), nil
	}
	if c.explain {
		d, windows = s.table.Explain(key, tier, cost, now)
	} else {
		d = s.table.Check(key, tier, cost, now)
	}
	if d.Exactness == limiter.Undecided {
		return d, nil, elsewhere(key, tier, cost, c.explain), nil
	}
	count.checked(tier, &d)
	return d, windows, nil, nil
}

// countAnswer counts what another node decided.
func (s *service) countAnswer(count *counting, c *peer.Call, d *limiter.Decision) {
	tier, _ := s.policy.Tier(c.Tier)
	count.checked(tier, d)
}

// read reads both clocks.
func (s *service) read() (limiter.Instant, wallClock) {
	now, wall := s.clock()
	return now, wallClock(wall.UnixNano())
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
