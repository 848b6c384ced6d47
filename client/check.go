package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A CheckRequest asks whether a request may pass.
type CheckRequest struct {
	// Key is the identity that is limited, 1 to 256 bytes of UTF-8.
	Key string
	// Tier of the key, up to 64 bytes. Empty: the limiter's default tier. A key in
	// the limiter's directory has the directory's tier, whatever this says.
	Tier string
	// Cost of the request, in units, up to 1,000,000,000. nil: 1. Cost(0): a peek,
	// which decides as for a cost of 1 but counts nothing.
	Cost *uint32
	// Explain asks for each window's own numbers.
	Explain bool
}

// Cost returns a pointer to n units, for the fields where a cost may be absent.
func Cost(n uint32) *uint32 { return &n }

func (r CheckRequest) proto() (*sluicev1.CheckRequest, *Error) {
	if e := checkText("/key", r.Key); e != nil {
		return nil, e
	}
	if e := checkText("/tier", r.Tier); e != nil {
		return nil, e
	}
	return &sluicev1.CheckRequest{Key: r.Key, Tier: r.Tier, Cost: r.Cost, Explain: r.Explain}, nil
}

// Check asks for one decision. A denial is a decision, not an error.
//
// The error is an *Error. If it is ErrUndecided the limiter could not answer and
// the policy is FailClosed, or the caller canceled ctx; otherwise the request
// was wrong. A call that timed out may have been counted: it is never repeated.
func (c *Client) Check(ctx context.Context, req CheckRequest) (Decision, error) {
	wire, e := req.proto()
	if e != nil {
		return Decision{}, e
	}
	res, e := invoke(ctx, c.timeout, c.rpc.Check, wire)
	if e == nil && res.GetDecision().GetExactness() == 0 {
		e = errNoAnswer("Check")
	}
	if c.note(ctx, e); e != nil {
		return c.undecidedDecision(ctx, e)
	}
	return readDecision(res.GetDecision()), nil
}

// A Result is what became of one check of a batch, with the meaning of what
// Check returns.
type Result struct {
	Decision Decision
	Err      error // an *Error, or nil
}

// CheckBatch asks for up to 100,000 decisions in one call. Each stands for
// itself: results has one for every check, in the same order. An error means
// that the call as a whole failed; it has the meaning of Check's error.
func (c *Client) CheckBatch(ctx context.Context, checks []CheckRequest) ([]Result, error) {
	results := make([]Result, len(checks))
	wire := make([]*sluicev1.CheckRequest, len(checks))
	for i, check := range checks {
		w, e := check.proto()
		if e != nil {
			e.Message = fmt.Sprintf("/checks/%d%s", i, e.Message)
			results[i].Err = e
			w = &sluicev1.CheckRequest{} // is refused, and keeps the others' places
		}
		wire[i] = w
	}
	if len(wire) == 0 {
		return results, nil
	}

	res, e := invoke(ctx, c.timeout, c.rpc.CheckBatch, &sluicev1.CheckBatchRequest{Checks: wire})
	if e == nil && len(res.GetResults()) != len(wire) {
		e = errNoAnswer("CheckBatch")
	}
	if c.note(ctx, e); e != nil && !c.failsOpen(ctx, e) {
		return nil, e
	}
	for i := range results {
		switch {
		case results[i].Err != nil:
		case e != nil:
			results[i].Decision = Decision{Allowed: true}
		default:
			results[i] = c.readResult(ctx, res.GetResults()[i])
		}
	}
	return results, nil
}

func (c *Client) readResult(ctx context.Context, r *sluicev1.CheckResult) Result {
	if d := r.GetDecision(); d.GetExactness() != 0 {
		return Result{Decision: readDecision(d)}
	}
	e := errNoAnswer("CheckBatch")
	if st := r.GetError(); st != nil && st.GetCode() != 0 {
		e = readError(status.FromProto(st).Err())
		e.RequestID = RequestID(ctx)
	}
	d, err := c.undecidedDecision(ctx, e)
	return Result{Decision: d, Err: err}
}

// undecidedDecision is what a call that failed with e returns.
func (c *Client) undecidedDecision(ctx context.Context, e *Error) (Decision, error) {
	if c.failsOpen(ctx, e) {
		return Decision{Allowed: true}, nil
	}
	return Decision{}, e
}

// failsOpen reports whether the policy lets a request pass whose call failed
// with e. A caller that has gone away wants no answer.
func (c *Client) failsOpen(ctx context.Context, e *Error) bool {
	return c.policy == FailOpen && undecided(e.GRPC) && !errors.Is(ctx.Err(), context.Canceled)
}

// note tells the log when the limiter stops or starts to answer. e is the error
// of a call, nil if it had none.
func (c *Client) note(ctx context.Context, e *Error) {
	switch {
	case e == nil || !undecided(e.GRPC):
		c.outage.answered(time.Now())
	case !errors.Is(ctx.Err(), context.Canceled):
		c.outage.silent(time.Now(), e)
	}
}
