package rpc

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// A Tracer makes spans of the calls that their callers trace. Its methods, and those of its spans,
// must not block.
//
// Streams are not traced: a stream lives longer than any request that its batches are for, and
// what its caller says of a trace is of the stream.
type Tracer interface {
	// Begin begins the span of a call, by its incoming metadata. nil: nobody traces it.
	Begin(ctx context.Context, method string) Span
}

// A Span is what a trace tells of a call. One goroutine uses it.
type Span interface {
	// Trace names the span, for what is a child of it.
	Trace() *peer.Trace
	// Decided tells of one decision; of a batch there are many.
	Decided(Outcome)
	// Forwarded tells that another node did a part.
	Forwarded()
	// End ends it, with the call.
	End(codes.Code)
}

// An Outcome is a decision as traces tell it: never whose it is.
type Outcome struct {
	Tier      string
	Allowed   bool
	Reason    limiter.Reason
	Exactness limiter.Exactness
	Cost      limiter.Cost
	Forwarded bool // another node decided
}

// trace names the call's span, nil if it has none.
func (c *counting) trace() *peer.Trace {
	if c.span == nil {
		return nil
	}
	return c.span.Trace()
}

// note tells the call's span of a check that was decided here.
func (c *counting) note(p *prepared, d *limiter.Decision) {
	if c.span != nil {
		c.span.Decided(outcomeOf(p.tier, p.cost, d, false))
	}
}

func outcomeOf(tier *limiter.Tier, cost limiter.Cost, d *limiter.Decision, forwarded bool) Outcome {
	return Outcome{Tier: nameOf(tier), Allowed: d.Allowed, Reason: d.Reason, Exactness: d.Exactness, Cost: cost, Forwarded: forwarded}
}

func acquiredOf(a *limiter.Acquisition, g *limiter.Grant, forwarded bool) Outcome {
	o := Outcome{Tier: nameOf(a.Tier), Allowed: g.Granted, Reason: g.Reason, Exactness: g.Exactness, Forwarded: forwarded}
	if a.Cost != nil {
		o.Cost = *a.Cost
	}
	return o
}

// nameOf returns the name of a tier that may be nil.
func nameOf(t *limiter.Tier) string {
	if t == nil {
		return ""
	}
	return t.Name()
}
