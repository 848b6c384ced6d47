package trace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEndpoints(t *testing.T) {
	for s, want := range map[string]string{
		"127.0.0.1:4317": "http://127.0.0.1:4317", "collector:4317": "http://collector:4317", "[::1]:4317": "http://[::1]:4317",
		"https://collector:4317": "https://collector:4317", "http://collector:4317/": "http://collector:4317/",
		"collector": "", "ftp://collector:4317": "", "https://u:p@collector:4317": "", ":4317": "", "http://collector:4317/v1/traces": "", "a b:1": "", "::": "",
	} {
		got, err := endpoint(s)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", s, got, err, want)
		}
	}
	if _, err := New(Config{Endpoint: "collector", Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("an endpoint without a port is taken")
	}
}

func TestTheEnvironmentAsksForTraces(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{endpoint: "http://c:4317"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317", "OTEL_TRACES_EXPORTER": "otlp"}, true},
		{map[string]string{endpoint: "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, false},
		{map[string]string{endpoint: "http://c:4317", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{endpoint: "http://c:4317", "OTEL_SDK_DISABLED": "true"}, false},
	} {
		t.Run("", func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			if Wanted() != c.want {
				t.Errorf("%v: %v", c.env, Wanted())
			}
		})
	}
}

// broken is a collector that takes nothing.
type broken struct{ err error }

func (b broken) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return b.err }
func (broken) Shutdown(context.Context) error                               { return nil }

func TestWhatCannotBeSentIsToldOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	e := newExporter(broken{errors.New("nobody listens")}, slog.New(slog.NewTextHandler(&log, nil)))
	e.now = func() time.Time { return now }
	send := func() {
		if err := e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 3)); err != nil {
			t.Error(err)
		}
	}
	send()
	send()
	now = now.Add(complainEvery - 1)
	send()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "spans=3") || !strings.Contains(got, "nobody listens") {
		t.Errorf("the log has %s", got)
	}
	log.Reset()
	now = now.Add(1)
	send()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "spans=9") {
		t.Errorf("the log has %s", got)
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// recording returns a Tracer whose spans are kept.
func recording() (*Tracer, *tracetest.SpanRecorder) {
	kept := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(kept), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	return &Tracer{provider: provider, tracer: provider.Tracer("")}, kept
}

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

func TestOnlyASampledParentIsFollowed(t *testing.T) {
	tracer, kept := recording()
	incoming := func(pairs ...string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs(pairs...))
	}
	const sampled = "00-" + parentTrace + "-" + parentSpan + "-01"
	for _, ctx := range []context.Context{
		t.Context(), incoming(), incoming(traceparent, "00-"+parentTrace+"-"+parentSpan+"-00"), incoming(traceparent, ""),
		incoming(traceparent, "00-"+parentTrace), incoming(traceparent, "00-00000000000000000000000000000000-"+parentSpan+"-01"),
		incoming(traceparent, sampled, traceparent, sampled),
	} {
		if s := tracer.Begin(ctx, "Check"); s != nil {
			t.Error("it is traced")
		}
	}
	s := tracer.Begin(incoming(traceparent, sampled, tracestate, "vendor=1"), "Check")
	s.End(codes.Unavailable)
	ended := kept.Ended()
	if len(ended) != 1 || ended[0].Parent().SpanID().String() != parentSpan || ended[0].SpanContext().TraceID().String() != parentTrace ||
		ended[0].SpanContext().TraceState().String() != "vendor=1" || ended[0].Status().Description != "" {
		t.Errorf("%+v", ended)
	}
	if name := s.Trace(); named(name).SpanID() != ended[0].SpanContext().SpanID() || !named(name).IsSampled() {
		t.Errorf("the span's name is %x", name)
	}
}

func TestGarbageFromANodeIsNoParent(t *testing.T) {
	tracer, kept := recording()
	for _, name := range []peer.Trace{{}, {24: 1}, {0: 1, 24: 1}, {16: 1, 24: 1}, {0: 1, 16: 1, 24: 2}} {
		if _, end := tracer.Cluster().Decide(&peer.Call{Kind: peer.Check, Trace: &name}); end != nil {
			t.Errorf("%x is followed", name)
		}
	}
	_, end := tracer.Cluster().Decide(&peer.Call{Kind: peer.Check, Tier: "pro~7", Trace: &peer.Trace{0: 1, 16: 1, 24: 1}})
	end(peer.Answer{Decision: limiter.Decision{Reason: limiter.ReasonRateLimited, Exactness: limiter.Exact}})
	if ended := kept.Ended(); len(ended) != 1 {
		t.Errorf("%d spans", len(ended))
	}
	for _, a := range kept.Ended()[0].Attributes() {
		if a.Key == "sluice.tier" && a.Value.AsString() != "pro" || a.Key == "sluice.reason" && a.Value.AsString() != "rate_limited" {
			t.Errorf("%s is %s", a.Key, a.Value.AsString())
		}
	}
}

func TestABatchIsSummedUp(t *testing.T) {
	tracer, kept := recording()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(traceparent, "00-"+parentTrace+"-"+parentSpan+"-01"))
	s := tracer.Begin(ctx, "CheckBatch")
	s.Decided(rpc.Outcome{Allowed: true})
	s.Decided(rpc.Outcome{Reason: limiter.ReasonRateLimited, Forwarded: true})
	s.End(codes.OK)
	got := make(map[string]string)
	for _, a := range kept.Ended()[0].Attributes() {
		got[string(a.Key)] = a.Value.String()
	}
	if got["sluice.checks"] != "2" || got["sluice.denials"] != "1" || got["sluice.forwarded"] != "true" || got["sluice.tier"] != "" {
		t.Errorf("told is %v", got)
	}
}
