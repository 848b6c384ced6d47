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
	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// check decides one request.
func (s *service) check(c *call, in *checkRequest) (mem.Buffer, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, unavailable("the call's deadline had passed before it was decided")
	}
	wall := wallClock(c.wall.UnixNano())
	p := c.prepare(&in.check, field{})
	d, windows, away, err := c.decide(&p, c.now)
	switch {
	case err != nil:
		return nil, err
	case away != nil:
		away.Deadline, away.Trace = deadline(c.ctx, c.now), c.trace()
		a, err := s.ask(c.ctx, away)
		if err != nil {
			return nil, err
		}
		c.answered(away, &a)
		d, windows = a.Decision, a.Windows
		_, wall = s.read()
	case !s.tellable(d.Permit):
		return nil, late()
	}
	return mem.SliceBuffer(appendCheckResponse(make([]byte, 0, resultBytes), &d, windows, wall)), nil
}

// checkBatch decides many requests.
func (s *service) checkBatch(c *call, in *batchRequest) (mem.Buffer, error) {
	to, err := room(c.ctx)
	if err != nil {
		return nil, err
	}
	answer := newBatchAnswer(1, nil, len(in.checks), to)
	b, err := s.decideAll(c.ctx.Done(), &c.counting, answer, in.checks)
	if err == nil {
		err = s.complete(c.ctx, b, deadline(c.ctx, c.now))
	}
	if err != nil {
		answer.drop()
		return nil, err
	}
	return answer.buffer(), nil
}

// decided is a batch of which all is decided that this node decides.
type decided struct {
	count  *counting
	answer *batchAnswer
	until  limiter.Instant // the decisions may be told until then
	away   []*peer.Call    // what another node decides; the answer has gaps for them
}

// together is how many checks of a batch are prepared, and then decided by one reading of the
// clock. All of them come after their call and before their answer; and the wait that the first
// is told is not off by more than they take.
const together = 64

// decideAll decides checks in their order. When done is closed nobody waits for the
// answer any more, and the rest is left undecided.
func (s *service) decideAll(done <-chan struct{}, count *counting, answer *batchAnswer, checks []check) (*decided, error) {
	b := &decided{count: count, answer: answer, until: math.MaxInt64}
	var ready [together]prepared
	for first := 0; first < len(checks); first += together {
		select {
		case <-done:
			return nil, unavailable("the call ended before all of it was decided")
		default:
		}
		group := checks[first:min(first+together, len(checks))]
		for i := range group {
			p := &ready[i]
			*p = count.prepare(&group[i], field{list: "checks", index: first + i})
		}
		if !s.strict {
			for i := range group {
				if p := &ready[i]; p.err == nil && p.refused == limiter.ReasonNone {
					s.table.Expect(p.key)
				}
			}
		}
		now, wall := s.read()
		for i := range group {
			b.decide(&ready[i], now, wall)
		}
	}
	return b, nil
}

// decide decides a check of the batch, the next.
func (b *decided) decide(p *prepared, now limiter.Instant, wall wallClock) {
	d, windows, away, err := b.count.decide(p, now)
	switch {
	case err != nil:
		b.answer.fail(err)
	case away != nil:
		b.away = append(b.away, away)
		b.answer.gap()
	default:
		b.until = min(b.until, d.Permit)
		b.answer.decision(&d, windows, wall)
	}
}

// complete has the rest of a batch decided by other nodes, until a deadline.
func (s *service) complete(ctx context.Context, b *decided, until limiter.Instant) error {
	if !s.tellable(b.until) {
		return late()
	}
	if len(b.away) == 0 {
		return nil
	}
	trace := b.count.trace()
	for _, c := range b.away {
		c.Deadline, c.Trace = until, trace
	}
	answers := s.cluster.Ask(ctx, b.away)
	_, wall := s.read()
	b.answer.fill(func(i int) {
		a := &answers[i]
		if err := answerError(*a); err != nil {
			b.answer.fail(err)
			return
		}
		b.count.answered(b.away[i], a)
		b.answer.decision(&a.Decision, a.Windows, wall)
	})
	return nil
}

// prepared is a check that was looked at: either it is wrong, or it can be decided.
type prepared struct {
	key     limiter.Key
	tier    *limiter.Tier
	cost    limiter.Cost
	explain bool
	refused limiter.Reason // why the key is refused; ReasonNone: it is not
	err     error          // what is wrong
}

// prepare looks at a check, which is at place at. Nothing in what it returns is the request's
// memory.
func (c *counting) prepare(of *check, at field) (p prepared) {
	p.cost, p.explain = 1, of.explain
	if p.tier, p.refused, p.err = c.resolve(of.key, of.tier, at); p.err != nil {
		return p
	}
	if of.costed {
		if p.cost, p.err = costOf(of.cost, at, "cost"); p.err != nil {
			return p
		}
	}
	if p.refused == limiter.ReasonNone {
		p.key = c.hasher.Key(of.key)
	}
	return p
}

// decide decides and counts a check. The decision may be told until its Permit. If another node
// decides, the call to make is returned instead.
func (c *counting) decide(p *prepared, now limiter.Instant) (d limiter.Decision, windows []limiter.WindowState, away *peer.Call, err error) {
	switch {
	case p.err != nil:
		return d, nil, nil, p.err
	case p.refused != limiter.ReasonNone:
		d = limiter.Decision{Reason: p.refused, Exactness: limiter.Exact, Limit: limitOf(p.tier), Permit: math.MaxInt64}
		c.told(p.tier, &d)
		c.note(p, &d)
		return d, nil, nil, nil
	case c.strict:
		return d, nil, elsewhere(p), nil
	case p.explain:
		d, windows = c.table.Explain(p.key, p.tier, p.cost, now)
	default:
		d = c.table.Check(p.key, p.tier, p.cost, now)
	}
	if d.Exactness == limiter.Undecided {
		return d, nil, elsewhere(p), nil
	}
	c.checked(p.tier, p.key, &d)
	c.note(p, &d)
	return d, windows, nil, nil
}

// read reads both clocks.
func (s *service) read() (limiter.Instant, wallClock) {
	now, wall := s.clock()
	return now, wallClock(wall.UnixNano())
}

// resolve checks key and tier, and returns the tier that counts, or the reason why the
// key is refused.
func (c *counting) resolve(key, tier string, at field) (*limiter.Tier, limiter.Reason, error) {
	if key == "" {
		at.name = "key"
		return nil, 0, at.invalid("is required")
	}
	if len(key) > limiter.MaxKeyLen {
		at.name = "key"
		return nil, 0, at.outOfRange(fmt.Sprintf("has %d bytes, must have 1 to %d", len(key), limiter.MaxKeyLen))
	}
	if c.id != "" && contract.TellsKey(c.id, key) {
		c.id = "" // there will be one of our own
	}
	r, err := c.rules.policy.Resolve(key, tier)
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
