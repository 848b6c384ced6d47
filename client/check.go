package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

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

// valid refuses what could not be sent.
func (r *CheckRequest) valid() *Error {
	if e := checkText("/key", r.Key); e != nil {
		return e
	}
	return checkText("/tier", r.Tier)
}

// proto returns the request as it is now: the caller may change his Cost when a call is over of
// which a try is not.
func (r *CheckRequest) proto() *sluicev1.CheckRequest {
	return &sluicev1.CheckRequest{Key: r.Key, Tier: r.Tier, Cost: valueOf(r.Cost), Explain: r.Explain}
}

// valueOf returns a pointer of its own to what p points to.
func valueOf(p *uint32) *uint32 {
	if p == nil {
		return nil
	}
	return Cost(*p)
}

// Check asks for one decision. A denial is a decision, not an error.
//
// The error is an *Error. If it is ErrUndecided the limiter could not answer and
// the policy is FailClosed, or the caller canceled ctx; otherwise the request
// was wrong. The call is tried again, also at other nodes, as long as there is
// time; see the package's text for what that can cost.
//
// Checks that are made at the same time share messages, which have no metadata of
// their own: one whose ctx has a request id, or other metadata, is a call of its own.
func (c *Client) Check(ctx context.Context, req CheckRequest) (d Decision, err error) {
	if e := req.valid(); e != nil {
		return d, e
	}
	asked := time.Now()
	if e := c.denials.find(&req, asked); e != nil && ctx.Err() == nil {
		err = c.checkDenied(ctx, &req, asked, &d)
	} else {
		err = c.checkNow(ctx, &req, asked, deadline(ctx, asked, c.timeout), &d)
	}
	return d, err
}

// checkDenied is Check of what was denied lately.
func (c *Client) checkDenied(ctx context.Context, req *CheckRequest, asked time.Time, d *Decision) (err error) {
	until := deadline(ctx, asked, c.timeout)
	told, ok, turn := c.denials.await(ctx, req, until)
	if ok {
		*d = told
		return nil
	}
	asked = time.Now() // a node's time to answer begins when it is asked, not when the wait for a turn did
	err = c.checkNow(ctx, req, asked, until, d)
	if turn != nil {
		c.denials.end(turn, d, asked, time.Now())
	}
	return err
}

// checkNow is Check of what the limiter must be asked, from now, which is asked, until a deadline.
//
// It and what it calls to ask by a stream keep little on the stack: hundreds of callers wait in here
// at a time, and go on faster if their stacks are still in the processor's caches.
func (c *Client) checkNow(ctx context.Context, req *CheckRequest, asked, until time.Time, d *Decision) error {
	q, ok := c.questions.Get().(*question)
	if !ok {
		q = &question{client: c, answers: make(chan *answer, roomForAnswers)}
	}
	q.ctx, q.deadline = ctx, until
	q.partition = c.topology.Load().partition(req.Key)
	q.check, q.alone = *req, hasMetadata(ctx)
	if req.Cost != nil {
		q.cost = *req.Cost
		q.check.Cost = &q.cost
	}
	a, e := q.ask(asked)
	if e != nil {
		return c.undecided(ctx, e, d)
	}
	c.outage.answered()
	*d = a.decision
	if q.done {
		*q = question{client: c, answers: q.answers, owing: q.owing[:0]}
		c.questions.Put(q)
	}
	if !d.Allowed {
		c.denials.note(req, d, asked, time.Now())
	}
	return nil
}

// undecided makes of a check that failed with e what its caller is told.
func (c *Client) undecided(ctx context.Context, e *Error, d *Decision) (err error) {
	c.note(ctx, e)
	*d, err = c.undecidedDecision(ctx, e)
	return err
}

// checkAlone asks n for one decision by a call of its own.
func checkAlone(ctx context.Context, n *node, req CheckRequest) (Decision, *Error) {
	res, e := send(ctx, n, sluicev1.RateLimiterServiceClient.Check, req.proto())
	if e != nil {
		return Decision{}, e
	}
	d := readDecision(res.GetDecision())
	if !d.Decided() {
		return Decision{}, errNoAnswer("Check")
	}
	return d, nil
}

// hasMetadata reports whether calls with ctx carry metadata.
func hasMetadata(ctx context.Context) bool {
	if RequestID(ctx) != "" {
		return true
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	return len(md) > 0
}

// inPlace returns a message about a field of the n-th check of some message, which
// begins with /checks/n/, as one about the check at pointer.
func inPlace(message, pointer string) string {
	rest, ok := strings.CutPrefix(message, "/checks/")
	if !ok {
		return message
	}
	return pointer + strings.TrimLeft(rest, "0123456789")
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
		c.outage.answered()
	case !errors.Is(ctx.Err(), context.Canceled):
		c.outage.silent(time.Now(), e)
	}
}
