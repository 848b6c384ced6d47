package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of the tests' policy.
const (
	free       = "sk_live_test_free"
	pro        = "sk_live_test_pro"
	enterprise = "sk_live_test_enterprise"
	suspended  = "sk_live_test_suspended"
	revoked    = "sk_live_test_revoked"
	unlisted   = "sk_live_test_unlisted"
)

// testPolicy is the contract's, with small uploads, a directory, and a tier for
// addresses. extra is appended to it.
func testPolicy(t testing.TB, extra string) *policy.Policy {
	t.Helper()
	var b strings.Builder
	b.WriteString(`
tiers:
  free:       {windows: [{limit: 10}], concurrent: 2, max_body: 1KiB}
  pro:        {windows: [{limit: 60}], concurrent: 10, max_body: 1MiB}
  enterprise: {windows: [{limit: 600}], concurrent: 50, max_body: 4MiB}
  anonymous:  {windows: [{limit: 5}], max_body: 1KiB}
default_tier: free
keys:
`)
	for _, k := range []struct{ key, tier, status string }{
		{free, "free", "active"}, {pro, "pro", "active"}, {enterprise, "enterprise", "active"},
		{suspended, "free", "suspended"}, {revoked, "free", "revoked"},
	} {
		b.WriteString("  - {sha256: " + policy.HashKey(k.key) + ", tier: " + k.tier + ", status: " + k.status + "}\n")
	}
	p, err := policy.Parse([]byte(b.String() + extra))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A rig is a gateway between an upstream and a node, all over real connections.
type rig struct {
	url     string
	gateway *gateway.Gateway
	node    string         // its address
	client  *client.Client // of the node
	logs    *logs
}

// A setup is what a test may choose. What it leaves out is chosen for it.
type setup struct {
	node     *policy.Policy // nil: the gateway's
	config   func(*gateway.Config)
	limiter  func(*client.Client) gateway.Limiter
	release  func()           // runs before each call of Release
	upstream http.HandlerFunc // nil: 200 with the body "fine"
	at       string           // the upstream's URL, instead of a handler
	unserved bool             // do not serve the gateway
}

func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	cfg := gateway.DefaultConfig()
	cfg.Policy = testPolicy(t, "")
	cfg.Anonymous.Tier = "anonymous"
	cfg.Routes = []gateway.Route{
		{Pattern: "POST /run", Run: true},
		{Pattern: "POST /templates", Tiers: []string{"pro", "enterprise"}},
		{Pattern: "GET /public", Public: true},
		{Pattern: "POST /public", Public: true},
	}
	if s.config != nil {
		s.config(&cfg)
	}
	r := &rig{logs: &logs{}}
	log := slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.client, r.node = newNode(t, s, cfg.Policy, log)

	target := s.at
	if target == "" {
		if s.upstream == nil {
			s.upstream = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }
		}
		upstream := httptest.NewServer(s.upstream)
		t.Cleanup(upstream.Close)
		target = upstream.URL
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var limiter gateway.Limiter = r.client
	if s.limiter != nil {
		limiter = s.limiter(r.client)
	}
	if r.gateway, err = gateway.New(cfg, u, limiter, log); err != nil {
		t.Fatal(err)
	}
	if !s.unserved {
		r.serve(t)
	}
	return r
}

// serve serves the gateway until the test ends.
func (r *rig) serve(t testing.TB) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	l := srv.Listener
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.gateway.Serve(ctx, l) }()
	r.url = "http://" + l.Addr().String()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		<-done
	})
}

// newNode starts a node, and returns a client of it that is patient: the tests
// may run on a busy machine.
func newNode(t testing.TB, s setup, p *policy.Policy, log *slog.Logger) (*client.Client, string) {
	t.Helper()
	if s.node != nil {
		p = s.node
	}
	node, err := server.Start(server.Config{GRPC: "127.0.0.1:0", Policy: p, MaxKeys: 10_000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Shutdown(context.Background()) })
	before := func(ctx context.Context, method string, req, res any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if s.release != nil && strings.HasSuffix(method, "/Release") {
			s.release()
		}
		return call(ctx, method, req, res, conn, opts...)
	}
	c, err := client.New(node.Addr(), client.WithTimeout(20*time.Second), client.WithLogger(log),
		client.WithDialOptions(grpc.WithUnaryInterceptor(before)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, node.Addr()
}

// held returns how many runs key has, and leaves one more.
func (r *rig) held(t testing.TB, key string) uint32 {
	t.Helper()
	n, _ := r.probe(t, key)
	return n
}

// inUse returns how many runs key has.
func (r *rig) inUse(t testing.TB, key string) uint32 {
	t.Helper()
	n, lease := r.probe(t, key)
	if err := lease.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n
}

// probe starts a run if it can, and returns how many there were before.
func (r *rig) probe(t testing.TB, key string) (uint32, *client.Lease) {
	t.Helper()
	g, err := r.client.Acquire(context.Background(), client.AcquireRequest{Key: key, RunID: "probe-" + rand.Text()})
	if err != nil {
		t.Fatal(err)
	}
	if !g.Granted {
		return g.InUse, nil
	}
	return g.InUse - 1, g.Lease
}

// waitInUse waits until key has n runs, for what happens after a connection broke.
func (r *rig) waitInUse(t testing.TB, key string, n uint32) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.inUse(t, key) != n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d runs in use, want %d", r.inUse(t, key), n)
		}
	}
}

// release ends a lease as a worker does that has a client of its own.
func (r *rig) release(lease string) error {
	c, err := client.New(r.node, client.WithTimeout(20*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Attach(lease, 0).Release(context.Background())
}

// withHints returns a context whose requests report early hints.
func withHints(ctx context.Context, f func(http.Header)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			f(http.Header(h))
			return nil
		},
	})
}

// left returns the units that key has left, without taking one.
func (r *rig) left(t testing.TB, key string) uint32 {
	t.Helper()
	d, err := r.client.Check(context.Background(), client.CheckRequest{Key: key, Cost: client.Cost(0)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Remaining
}

// A result is a response that was read to its end.
type result struct {
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
	err     error // of the body
}

// A header is a change of a request; an empty value removes.
type header struct{ name, value string }

// request sends a request with a key, if it is not empty.
func (r *rig) request(t testing.TB, method, path, key string, body io.Reader, headers ...header) result {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, r.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		req.Header[h.name] = append(req.Header[h.name], h.value)
	}
	return do(t, req)
}

// transport shows responses as they are.
var transport = &http.Transport{DisableCompression: true}

// do sends req and reads the response.
func do(t testing.TB, req *http.Request) result {
	t.Helper()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return result{res.StatusCode, res.Header, res.Trailer, b, err}
}

// number returns a header that is a number.
func (r result) number(t testing.TB, name string) int64 {
	t.Helper()
	if n := len(r.header.Values(name)); n != 1 {
		t.Fatalf("status %d: header %s is there %d times, want once", r.status, name, n)
	}
	n, err := strconv.ParseInt(r.header.Get(name), 10, 64)
	if err != nil {
		t.Fatalf("status %d: header %s: %v", r.status, name, err)
	}
	return n
}

// wantError requires the contract's error for code, and what every response has.
func (r result) wantError(t testing.TB, code contract.Code) contract.Body {
	t.Helper()
	body, ok := contract.ParseBody(r.body)
	want := contract.Error{Code: code}.Status()
	if !ok || body.Error != code || r.status != want {
		t.Fatalf("status %d, body %q; want %d %s", r.status, r.body, want, code)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	r.wantHeaders(t)
	return body
}

// wantHeaders requires what every response has.
func (r result) wantHeaders(t testing.TB) {
	t.Helper()
	limit, remaining := r.number(t, contract.HeaderLimit), r.number(t, contract.HeaderRemaining)
	if limit < 1 || remaining < 0 || remaining > limit {
		t.Errorf("status %d: limit %d, remaining %d", r.status, limit, remaining)
	}
	if in := r.number(t, contract.HeaderReset) - time.Now().Unix(); in < -1 || in > 61 {
		t.Errorf("status %d: reset is in %d s", r.status, in)
	}
	if ids := r.header.Values(contract.HeaderRequestID); len(ids) != 1 || !contract.ValidRequestID(ids[0]) {
		t.Errorf("status %d: request ids are %q", r.status, ids)
	}
	for name := range r.header {
		if strings.Contains(strings.ToLower(name), "lease") {
			t.Errorf("status %d: the client was sent %s", r.status, name)
		}
	}
}

// logs is a log that may be written and read at the same time.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// count returns how many lines have this message.
func (l *logs) count(message string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		var entry struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Msg, message) {
			n++
		}
	}
	return n
}
