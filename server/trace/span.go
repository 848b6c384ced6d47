package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/server/rpc"
)

// The names of W3C trace context, as metadata and as headers.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// service is before the name of a span of a call, as gRPC names methods.
const service = "sluice.v1.RateLimiterService/"

// Begin begins the span of a call whose metadata has a sampled traceparent.
func (t *Tracer) Begin(ctx context.Context, method string) rpc.Span {
	parents := metadata.ValueFromIncomingContext(ctx, traceparent)
	if len(parents) != 1 {
		return nil
	}
	carrier := propagation.MapCarrier{traceparent: parents[0]}
	if states := metadata.ValueFromIncomingContext(ctx, tracestate); len(states) == 1 {
		carrier[tracestate] = states[0]
	}
	parent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	if !parent.IsSampled() {
		return nil
	}
	_, s := t.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), service+method,
		trace.WithSpanKind(trace.SpanKindServer))
	return &span{of: s}
}

// span is the span of a call while it is decided.
type span struct {
	of        trace.Span
	first     rpc.Outcome
	decided   int
	denied    int
	forwarded bool
}

// Trace names the span.
func (s *span) Trace() *peer.Trace { return nameOf(s.of.SpanContext()) }

// Decided tells of one decision.
func (s *span) Decided(o rpc.Outcome) {
	if s.decided++; s.decided == 1 {
		s.first = o
	}
	if !o.Allowed {
		s.denied++
	}
	s.forwarded = s.forwarded || o.Forwarded
}

// Forwarded tells that another node did a part.
func (s *span) Forwarded() { s.forwarded = true }

// End ends the span. Of many decisions it has only how many there were.
func (s *span) End(code codes.Code) {
	switch s.decided {
	case 0:
	case 1:
		s.of.SetAttributes(outcome(&s.first)...)
	default:
		s.of.SetAttributes(attribute.Int("sluice.checks", s.decided), attribute.Int("sluice.denials", s.denied))
	}
	s.of.SetAttributes(attribute.Bool("sluice.forwarded", s.forwarded), attribute.String("rpc.system.name", "grpc"),
		attribute.String("rpc.response.status_code", statusName(code)))
	if failed(code) {
		s.of.SetStatus(otelcodes.Error, "")
	}
	s.of.End()
}

// nameOf returns the name of a span.
func nameOf(c trace.SpanContext) *peer.Trace {
	name := new(peer.Trace)
	id, span := c.TraceID(), c.SpanID()
	copy(name[:16], id[:])
	copy(name[16:24], span[:])
	name[24] = byte(c.TraceFlags())
	return name
}

// named returns the context of a span by its name, as another node sent it.
func named(name *peer.Trace) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(name[:16]), SpanID: trace.SpanID(name[16:24]), TraceFlags: trace.TraceFlags(name[24]), Remote: true,
	})
}
