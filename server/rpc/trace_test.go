package rpc

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// oneSpan is a Tracer, and the span of each call.
type oneSpan struct {
	off      bool
	outcomes []Outcome
	ended    []codes.Code
}

func (o *oneSpan) Begin(context.Context, string) Span {
	if o.off {
		return nil
	}
	return o
}

func (o *oneSpan) Trace() *peer.Trace  { return nil }
func (o *oneSpan) Decided(out Outcome) { o.outcomes = append(o.outcomes, out) }
func (o *oneSpan) Forwarded()          {}
func (o *oneSpan) End(code codes.Code) { o.ended = append(o.ended, code) }

func TestASpanIsToldOfItsCall(t *testing.T) {
	o := new(oneSpan)
	check, request := checker(t, &Config{Tracer: o})
	check(request)
	want := Outcome{Tier: "enterprise", Allowed: true, Exactness: limiter.Exact, Cost: 1}
	if len(o.outcomes) != 1 || o.outcomes[0] != want || len(o.ended) != 1 || o.ended[0] != codes.OK {
		t.Errorf("told were %+v, and %v", o.outcomes, o.ended)
	}
}

// checkAllocs is how often a check takes memory, grpc left out: what it is without any tracing.
const checkAllocs = 6

func TestTracingThatIsOffTakesNoMemory(t *testing.T) {
	for name, c := range map[string]*Config{"without a tracer": {}, "of a call that nobody traces": {Tracer: &oneSpan{off: true}}} {
		check, request := checker(t, c)
		if n := testing.AllocsPerRun(1000, func() { check(request) }); n > checkAllocs {
			t.Errorf("%s: %v allocations, want %d", name, n, checkAllocs)
		}
	}
}
