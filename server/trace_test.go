package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/trace"
)

// collector is an OpenTelemetry collector that keeps what it is told.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	addr string

	mu    sync.Mutex // guards spans
	spans []collected
}

// collected is a span, and the node that it came from.
type collected struct {
	*tracepb.Span
	service, node string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: lis.Addr().String()}
	s := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(s, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(lis)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	return c
}

func (c *collector) Export(_ context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range req.GetResourceSpans() {
		of := from.GetResource().GetAttributes()
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, collected{s, attribute(of, "service.name").GetStringValue(), attribute(of, "service.instance.id").GetStringValue()})
			}
		}
	}
	return new(collectorpb.ExportTraceServiceResponse), nil
}

func attribute(all []*commonpb.KeyValue, name string) *commonpb.AnyValue {
	for _, a := range all {
		if a.GetKey() == name {
			return a.GetValue()
		}
	}
	return nil
}

// children returns the spans of a trace whose parent is that span.
func (c *collector) children(traceID, parent string) (all []collected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if string(s.TraceId) == traceID && string(s.ParentSpanId) == parent {
			all = append(all, s)
		}
	}
	return all
}

func (c *collector) all() []collected {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]collected(nil), c.spans...)
}

// gatewaySpan is a span of a gateway: what it says of itself to whom it asks.
type gatewaySpan struct{ traceID, id string }

func newGatewaySpan(i int) gatewaySpan {
	return gatewaySpan{fmt.Sprintf("gateway's %06d", i), fmt.Sprintf("sp%06d", i)}
}

// traceparent is that of the span; flags are 01 if it is sampled.
func (g gatewaySpan) traceparent(flags string) string {
	return fmt.Sprintf("00-%x-%x-%s", g.traceID, g.id, flags)
}

func (g gatewaySpan) context(ctx context.Context, flags string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", g.traceparent(flags))
}

// tracedNodes starts two nodes that tell a collector of what they do.
func tracedNodes(t *testing.T) (*collector, *nodes) {
	c := newCollector(t)
	all := newNodes(t)
	for _, name := range []string{"a", "b"} {
		all.start(name, func(of *server.Config) {
			of.HTTP, of.Trace = "127.0.0.1:0", &trace.Config{Endpoint: c.addr}
		})
	}
	return c, all
}

// awaitForward asks for keys until one was forwarded, and returns the span of the node that was
// asked and that of the gateway.
func (c *collector) awaitForward(t *testing.T, all *nodes, ask func(g gatewaySpan, key string)) (g gatewaySpan, asked collected) {
	t.Helper()
	for i := range 100 {
		g = newGatewaySpan(i)
		ask(g, key(i))
		all.eventually(10*time.Second, "the span of the call arrives", func() bool {
			found := c.children(g.traceID, g.id)
			if len(found) == 1 {
				asked = found[0]
			}
			return len(found) == 1
		})
		if attribute(asked.Attributes, "sluice.forwarded").GetBoolValue() {
			return g, asked
		}
	}
	t.Fatal("no call was forwarded")
	return g, asked
}

// only waits for the one span that is a child of another.
func (c *collector) only(all *nodes, of gatewaySpan, parent collected) (child collected) {
	all.t.Helper()
	all.eventually(10*time.Second, "the child of "+parent.Name+" arrives", func() bool {
		found := c.children(of.traceID, string(parent.SpanId))
		if len(found) == 1 {
			child = found[0]
		}
		return len(found) == 1
	})
	return child
}

func TestAForwardJoinsTheTrace(t *testing.T) {
	c, all := tracedNodes(t)
	grpcCheck := func(g gatewaySpan, key string) {
		if _, err := all.by["a"].rpc.Check(g.context(t.Context(), "01"), &sluicev1.CheckRequest{Key: key, Tier: "ten", Cost: proto.Uint32(2)}); err != nil {
			t.Fatal(err)
		}
	}
	acquire := func(g gatewaySpan, key string) {
		if _, err := all.by["a"].rpc.Acquire(g.context(t.Context(), "01"), &sluicev1.AcquireRequest{Key: key, Tier: "ten", RunId: "r", TtlMs: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	batch := func(g gatewaySpan, key string) {
		checks := []*sluicev1.CheckRequest{{Key: key, Tier: "ten"}, {Key: key, Tier: "ten"}}
		if _, err := all.by["a"].rpc.CheckBatch(g.context(t.Context(), "01"), &sluicev1.CheckBatchRequest{Checks: checks}); err != nil {
			t.Fatal(err)
		}
	}
	httpCheck := func(g gatewaySpan, key string) {
		body := fmt.Sprintf(`{"key": %q, "tier": "ten", "cost": 2}`, key)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+all.by["a"].HTTPAddr()+"/v1/check", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		request(t, req, g)
	}
	auth := func(g gatewaySpan, key string) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+all.by["a"].HTTPAddr()+"/v1/auth", nil)
		req.Header.Set("X-Api-Key", key)
		request(t, req, g)
	}
	for _, ask := range []struct {
		name, method string
		by           func(gatewaySpan, string)
		cost         int64
	}{{"gRPC", "Check", grpcCheck, 2}, {"JSON", "Check", httpCheck, 2}, {"/v1/auth", "Check", auth, 1}, {"run", "Acquire", acquire, 0}, {"batch", "CheckBatch", batch, -1}} {
		t.Run(ask.name, func(t *testing.T) {
			c.mu.Lock()
			c.spans = nil
			c.mu.Unlock()
			g, asked := c.awaitForward(t, all, ask.by)
			forward := c.only(all, g, asked)
			decide := c.only(all, g, forward)
			kind := strings.TrimSuffix(ask.method, "Batch")
			for _, want := range []struct {
				got        collected
				node, name string
				kind       tracepb.Span_SpanKind
			}{
				{asked, "a", "sluice.v1.RateLimiterService/" + ask.method, tracepb.Span_SPAN_KIND_SERVER},
				{forward, "a", "Forward " + kind, tracepb.Span_SPAN_KIND_CLIENT},
				{decide, "b", "Decide " + kind, tracepb.Span_SPAN_KIND_SERVER},
			} {
				if s := want.got; s.node != want.node || s.service != "sluice" || s.Name != want.name || s.Kind != want.kind {
					t.Errorf("%s of %s/%s, %v; want %s of sluice/%s, %v", s.Name, s.service, s.node, s.Kind, want.name, want.node, want.kind)
				}
				if ask.cost >= 0 {
					decided(t, want.got, ask.cost)
				}
			}
			tellNoKey(t, c.all())
		})
	}
}

// decided requires that a span tells of a decision that allowed.
func decided(t *testing.T, s collected, cost int64) {
	t.Helper()
	if attribute(s.Attributes, "sluice.tier").GetStringValue() != "ten" || !attribute(s.Attributes, "sluice.allowed").GetBoolValue() ||
		attribute(s.Attributes, "sluice.reason").GetStringValue() != "allowed" || attribute(s.Attributes, "sluice.exactness").GetStringValue() != "exact" ||
		attribute(s.Attributes, "sluice.cost").GetIntValue() != cost {
		t.Errorf("%s tells %v", s.Name, s.Attributes)
	}
}

// tellNoKey requires that no span has a key in it.
func tellNoKey(t *testing.T, spans []collected) {
	t.Helper()
	for _, s := range spans {
		if text := prototext.Format(s.Span); strings.Contains(text, "key-") {
			t.Errorf("a span tells a key: %s", text)
		}
	}
}

// request sends a request as part of a trace.
func request(t *testing.T, req *http.Request, g gatewaySpan) {
	t.Helper()
	req.Header.Set("Traceparent", g.traceparent("01"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", req.URL.Path, resp.Status)
	}
}

// What is not sampled is not traced, and what is wrong neither.
func TestOnlySampledCallsAreTraced(t *testing.T) {
	c, all := tracedNodes(t)
	a := all.by["a"].rpc
	for i := range 20 {
		for _, ctx := range []context.Context{
			t.Context(), newGatewaySpan(i).context(t.Context(), "00"),
			metadata.AppendToOutgoingContext(t.Context(), "traceparent", "garbage"),
		} {
			if _, err := a.Check(ctx, &sluicev1.CheckRequest{Key: key(i), Tier: "ten"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What came before is sent before.
	last := newGatewaySpan(1000)
	if _, err := a.Check(last.context(t.Context(), "01"), &sluicev1.CheckRequest{Key: "key", Tier: "ten"}); err != nil {
		t.Fatal(err)
	}
	all.eventually(10*time.Second, "a span arrives", func() bool { return len(c.children(last.traceID, last.id)) == 1 })
	for name := range all.by {
		all.by[name].end(t)
		delete(all.by, name)
	}
	for _, s := range c.all() {
		if string(s.TraceId) != last.traceID {
			t.Errorf("%s was sent of a call that is not traced", s.Name)
		}
	}
}

// A collector that is not there changes nothing: calls are decided, and the node ends in time.
func TestACollectorMayBeGone(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := newNodes(t)
	a := all.start("a", func(of *server.Config) { of.Trace = &trace.Config{Endpoint: lis.Addr().String()} })
	_ = lis.Close()
	for i := range 20 {
		if _, err := a.rpc.Check(newGatewaySpan(i).context(t.Context(), "01"), &sluicev1.CheckRequest{Key: key(i), Tier: "ten"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	_ = a.conn.Close()
	delete(all.by, "a")
}
