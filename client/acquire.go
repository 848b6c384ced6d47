package client

import (
	"context"
	"math"
	"time"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// DefaultTTL is how long a lease lives unless renewed, if nothing else is asked.
const DefaultTTL = 30 * time.Second

// An AcquireRequest asks for a slot for one concurrent run.
type AcquireRequest struct {
	// Key and Tier as in CheckRequest.
	Key, Tier string
	// RunID names the run, uniquely within its key: 1 to 256 bytes. To acquire it
	// again while it is held returns the same lease, so a failed call may be
	// repeated. A run that was released is over: do not use its id again.
	RunID string
	// TaskID that the run belongs to, for support. Up to 256 bytes, or empty.
	TaskID string
	// TTL is how long the lease outlives the last renewal, and so how long a dead
	// holder blocks its slot: 1 s to 10 min. 0: DefaultTTL.
	TTL time.Duration
	// RequestCost is how many units of the tier's windows to take in the same
	// step. nil: the windows are not asked. Cost(0): they must have room, but
	// nothing is taken.
	RequestCost *uint32
}

// A Grant is the answer to an AcquireRequest.
type Grant struct {
	// Granted says whether the run may start.
	Granted bool
	// Lease that the run holds. nil if it was denied, and also if it was granted
	// by FailOpen without the limiter: the methods of a nil *Lease do nothing.
	Lease *Lease
	// InUse is how many runs the key has now, Limit how many its tier allows.
	InUse, Limit uint32
	// RetryAfter is how long to wait before asking again. 0: it was granted, or
	// no wait helps. It is a hint if ConcurrencyLimited: a run may end at any time.
	RetryAfter time.Duration
	// Reason of a denial.
	Reason Reason
	// Exactness says how sure the answer is.
	Exactness Exactness
	// Decision is what the windows say if RequestCost was given, else zero.
	Decision Decision
}

// Decided reports whether the limiter decided this.
func (g Grant) Decided() bool { return g.Exactness != Undecided }

func (r AcquireRequest) proto() (*sluicev1.AcquireRequest, *Error) {
	fields := [...]struct{ pointer, text string }{
		{"/key", r.Key}, {"/tier", r.Tier}, {"/run_id", r.RunID}, {"/task_id", r.TaskID},
	}
	for _, f := range fields {
		if e := checkText(f.pointer, f.text); e != nil {
			return nil, e
		}
	}
	if r.TTL == 0 {
		r.TTL = DefaultTTL
	}
	ms := r.TTL.Milliseconds()
	if ms < 0 || ms > math.MaxUint32 {
		return nil, wrongField(contract.ValidationError, "/ttl_ms", "is out of range")
	}
	return &sluicev1.AcquireRequest{
		Key: r.Key, Tier: r.Tier, RunId: r.RunID, TaskId: r.TaskID,
		TtlMs: uint32(ms), RequestCost: valueOf(r.RequestCost),
	}, nil
}

// Acquire asks for a slot, and for units of the windows if RequestCost is given:
// both or neither. A denial is a Grant, not an error; errors are as in Check. To
// try again costs nothing here: the run has its slot, and its units, once.
//
// A granted lease is renewed until it is released, detached or lost. If the
// answer never came (the deadline passed, ctx was canceled), the run may have a
// slot that nobody knows of: the client then asks again in the background and
// releases it. To call Acquire again for the same run supersedes that.
func (c *Client) Acquire(ctx context.Context, req AcquireRequest) (Grant, error) {
	wire, e := req.proto()
	if e != nil {
		return Grant{}, e
	}
	run := runName{req.Key, req.RunID}
	turn, e := c.runs.enter(ctx, c.timeout, run)
	if e != nil {
		return c.undecidedGrant(ctx, e)
	}
	asked := time.Now()
	partition := c.topology.Load().partition(req.Key)
	res, e := invoke(ctx, c, route{partition: partition, timeout: c.timeout}, sluicev1.RateLimiterServiceClient.Acquire, wire)
	if e == nil && (res.GetExactness() == 0 || res.GetGranted() && res.GetLeaseId() == "") {
		e = errNoAnswer("Acquire")
	}
	if c.note(ctx, e); e != nil {
		if undecided(e.GRPC) && e.sent {
			c.settle(ctx, turn, wire)
		} else {
			turn.leave()
		}
		return c.undecidedGrant(ctx, e)
	}
	g := readGrant(res)
	if g.Granted {
		l := &Lease{client: c, id: res.GetLeaseId(), runID: req.RunID, ttl: millis(wire.GetTtlMs()), partition: partition}
		g.Lease = c.renewals.hold(l, asked.Add(millis(res.GetExpiresInMs())))
	}
	turn.leave()
	return g, nil
}

// undecidedGrant is what a call that failed with e returns.
func (c *Client) undecidedGrant(ctx context.Context, e *Error) (Grant, error) {
	if c.failsOpen(ctx, e) {
		return Grant{Granted: true}, nil
	}
	return Grant{}, e
}

func readGrant(res *sluicev1.AcquireResponse) Grant {
	return Grant{
		Granted:    res.GetGranted(),
		InUse:      res.GetInUse(),
		Limit:      res.GetLimit(),
		RetryAfter: millis(res.GetRetryAfterMs()),
		Reason:     Reason(res.GetReason()),
		Exactness:  Exactness(res.GetExactness()),
		Decision:   readDecision(res.GetDecision()),
	}
}
