package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/rpc"
)

// Cluster returns the Tracer for what nodes ask each other.
func (t *Tracer) Cluster() cluster.Tracer { return forwards{t.tracer} }

type forwards struct{ tracer trace.Tracer }

var kinds = map[peer.Kind]string{peer.Check: "Check", peer.Acquire: "Acquire", peer.Renew: "Renew", peer.Release: "Release"}

// Forward begins the span of a call that goes to another node.
func (f forwards) Forward(c *peer.Call, to string) (*peer.Trace, func(peer.Answer)) {
	return f.begin(c, "Forward ", trace.SpanKindClient, attribute.String("sluice.to", to))
}

// Decide begins the span of a call that another node has forwarded.
func (f forwards) Decide(c *peer.Call) (*peer.Trace, func(peer.Answer)) {
	return f.begin(c, "Decide ", trace.SpanKindServer, attribute.Int("sluice.hops", c.Hops))
}

func (f forwards) begin(c *peer.Call, what string, kind trace.SpanKind, more attribute.KeyValue) (*peer.Trace, func(peer.Answer)) {
	parent := named(c.Trace)
	if !parent.IsValid() || !parent.IsSampled() {
		return nil, nil
	}
	_, s := f.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), what+kinds[c.Kind],
		trace.WithSpanKind(kind), trace.WithAttributes(more))
	// The call is its caller's again when it is answered.
	asked := rpc.Outcome{Tier: c.Tier, Cost: limiter.Cost(c.Cost)}
	return nameOf(s.SpanContext()), func(a peer.Answer) {
		s.SetAttributes(answer(c.Kind, &a, asked)...)
		if a.Unknown || a.Undecided {
			s.SetStatus(otelcodes.Error, "")
		}
		s.End()
	}
}
