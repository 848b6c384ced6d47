package httpauth_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key     = "sk_live_0123456789abcdef"
	revoked = "sk_live_revoked"
	banned  = "sk_live_suspended"
	token   = "0123456789abcdef0123456789abcdef"
)

// The SHA-256 of the keys above.
const policyFile = `
tiers:
  free: {windows: [{limit: 2, per: 1m}], concurrent: 1}
  pro:  {windows: [{limit: 60, per: 1m}], concurrent: 2}
default_tier: free
keys:
  - {sha256: "%s", status: revoked}
  - {sha256: "%s", status: suspended}
`

// rig is a node whose clock stands still unless told.
type rig struct {
	t    *testing.T
	node *server.Node
	url  string

	mu   sync.Mutex
	past time.Duration
}

// wall is the clock that people read, when a rig starts.
var wall = time.Unix(1_800_000_000, 0)

func (r *rig) clock() (limiter.Instant, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return limiter.Instant(100 * 24 * time.Hour).Add(r.past), wall.Add(r.past)
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past += d
}

func start(t *testing.T, change func(*server.Config)) *rig {
	t.Helper()
	p, err := policy.Parse(fmt.Appendf(nil, policyFile, policy.HashKey(revoked), policy.HashKey(banned)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t}
	c := server.Config{
		GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", HTTPTokenFile: tokenFile(t), Policy: p, MaxKeys: 1000,
		Log: slog.New(slog.DiscardHandler), Clock: r.clock,
	}
	if change != nil {
		change(&c)
	}
	if r.node, err = server.Start(c); err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + r.node.HTTPAddr()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.node.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// tokenFile returns a file with token.
func tokenFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("# gateways\n"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answer is what a caller sees.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request with headers, which are names and values in turn.
func (r *rig) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (r *rig) auth(query string, headers ...string) answer {
	r.t.Helper()
	return r.do(http.MethodGet, "/v1/auth"+query, "", headers...)
}

// wants fails the test unless the answer has the status, body and headers; "" is an absent header.
func (a answer) wants(t *testing.T, status int, body string, headers ...string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("got %d %q, want %d %q", a.status, a.body, status, body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			t.Errorf("%s is %q, want %q", headers[i], got, headers[i+1])
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("the answer has no request id")
	}
}

const (
	limited   = `{"success":false,"error":"rate_limit_exceeded","message":"` + limitedMessage + "\"}\n"
	noSuchKey = `{"success":false,"error":"invalid_api_key","message":"` + invalidMessage + "\"}\n"
)

func TestAuth(t *testing.T) {
	r := start(t, nil)
	bearer := "Bearer " + key
	r.auth("", "Authorization", bearer).wants(t, 200, "", "X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "1800000060", "Retry-After", "")
	r.wait(10 * time.Second)
	r.do(http.MethodPost, "/v1/auth", "", "X-Api-Key", key, "X-Request-Id", "req-7").wants(t, 200, "", "X-RateLimit-Remaining", "0", "X-Request-Id", "req-7")
	r.wait(10 * time.Second)
	r.auth("", "Authorization", bearer).wants(t, 429, limited,
		"X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "0", "Retry-After", "40", "Content-Type", "application/json")
	r.wait(40 * time.Second)
	r.auth("", "authorization", "bearer "+key).wants(t, 200, "")

	r.auth("").wants(t, 401, noSuchKey, "X-RateLimit-Limit", "")
	r.auth("", "Authorization", "Basic dXNlcg==").wants(t, 401, noSuchKey)
	r.auth("", "X-Api-Key", strings.Repeat("k", 257)).wants(t, 401, noSuchKey)
	r.auth("", "X-Api-Key", "caf\xe9").wants(t, 401, noSuchKey)
	r.auth("?lease=1", "Authorization", "Bearer caf\xe9").wants(t, 401, noSuchKey)
	r.auth("", "Authorization", bearer, "X-Api-Key", "another").wants(t, 401, noSuchKey)
	r.auth("", "X-Api-Key", "one,two").wants(t, 401, noSuchKey)
	r.auth("", "X-Api-Key", revoked).wants(t, 401, noSuchKey)
	if a := r.auth("", "X-Api-Key", banned); a.status != 403 {
		t.Errorf("a suspended key: %+v", a)
	}
	if a := r.do(http.MethodGet, "/v1/nothing", ""); a.status != 404 || !strings.Contains(a.body, "not_found") {
		t.Errorf("an unknown path: %+v", a)
	}
}

// Behind CGI and its like X_Api_Key is X-Api-Key: a client once had a key of its choice counted, and
// another taken.
func TestUnderscoresMakeNoOtherHeader(t *testing.T) {
	r := start(t, nil)
	for _, name := range []string{"X_Api_Key", "X-Api_key", "x_api-key"} {
		r.auth("", "X-Api-Key", "throwaway", name, key).wants(t, 401, noSuchKey)
		r.auth("", "Authorization", "Bearer throwaway", name, key).wants(t, 401, noSuchKey)
		r.auth("", "Authorization", "Bearer one"+name, name, "one"+name).wants(t, 200, "")
	}
	r.auth("", "X-Api-Key", "throwaway").wants(t, 200, "", "X-RateLimit-Remaining", "1")
}

// A request id that holds the key was once logged, and so was the key.
func TestNoLogTellsAKeyThatIsSentAsRequestID(t *testing.T) {
	log := new(logText)
	r := start(t, func(c *server.Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for _, id := range []string{key, "request-of-" + key + ".1"} {
		for range 3 {
			if a := r.auth("", "X-Api-Key", key, "X-Request-Id", id); strings.Contains(a.header.Get("X-Request-Id"), key) {
				t.Errorf("%s: the id is %q", id, a.header.Get("X-Request-Id"))
			}
			if a, _ := r.post("/v1/check", `{"key": "`+key+`"}`, "X-Request-Id", id); strings.Contains(a.header.Get("X-Request-Id"), key) {
				t.Errorf("%s: the id of JSON is %q", id, a.header.Get("X-Request-Id"))
			}
			if a, _ := r.post("/v1/check", `{"key": "`+key+`"}`, "X-Api-Key", key, "X-Request-Id", id); strings.Contains(a.header.Get("X-Request-Id"), key) {
				t.Errorf("%s: the id of JSON about it is %q", id, a.header.Get("X-Request-Id"))
			}
			if a, _ := r.post("/v1/check", `{"key": "a-tenant"}`, "X-Api-Key", key, "X-Request-Id", id); strings.Contains(a.header.Get("X-Request-Id"), key) {
				t.Errorf("%s: the id of JSON about something else is %q", id, a.header.Get("X-Request-Id"))
			}
			r.wait(2 * time.Second) // each denial is due to be logged
		}
		r.auth("?lease=1", "X-Api-Key", key, "X-Request-Id", id)
		r.post("/v1/acquire", `{"key": "`+key+`", "run_id": "r", "ttl_ms": 30000}`, "X-Request-Id", id)
	}
	r.wait(2 * time.Second)
	r.post("/v1/check", `{"key": "`+key+`"}`, "X-Request-Id", "req-9")
	if text := log.String(); strings.Contains(text, key) || !strings.Contains(text, "msg=denied") || !strings.Contains(text, "request_id=req-9") {
		t.Errorf("the log tells the key, or not of denials: %s", text)
	}
}

// logText is a log that may be read while it is written.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTierAndCostCountFromTrustedCallersOnly(t *testing.T) {
	r := start(t, nil)
	r.auth("", "X-Api-Key", key, "X-Sluice-Tier", "pro", "X-Sluice-Cost", "0").wants(t, 200, "", "X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "1")
	r.auth("", "X-Api-Key", key, "X-Sluice-Tier", "pro", "X-Sluice-Token", token[1:]).wants(t, 200, "", "X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "0")
	r.auth("", "X-Api-Key", key, "X-Sluice-Tier", "pro", "X-Sluice-Cost", "8", "X-Sluice-Token", token).
		wants(t, 200, "", "X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "50")
	if a := r.auth("", "X-Api-Key", key, "X-Sluice-Tier", "gold", "X-Sluice-Token", token); a.status != 400 || !strings.Contains(a.body, "/tier") {
		t.Errorf("an unknown tier: %+v", a)
	}
	if a := r.auth("", "X-Api-Key", key, "X-Sluice-Cost", "-1", "X-Sluice-Token", token); a.status != 400 || !strings.Contains(a.body, "X-Sluice-Cost") {
		t.Errorf("a cost that is none: %+v", a)
	}
	if a := r.auth("", "X-Api-Key", key, "X-Sluice-Cost", "61", "X-Sluice-Tier", "pro", "X-Sluice-Token", token); a.status != 422 {
		t.Errorf("a cost above the limit: %+v", a)
	}
}

// Without tokens an empty token is none.
func TestNobodyIsTrustedWithoutTokens(t *testing.T) {
	r := start(t, func(c *server.Config) { c.HTTPTokenFile = "" })
	r.auth("", "X-Api-Key", key, "X-Sluice-Tier", "pro", "X-Sluice-Token", "").wants(t, 200, "", "X-RateLimit-Limit", "2")
}

// nginx passes on 401 and 403 only, and no body: what its client is to see is in headers.
func TestDenialsAreMirrored(t *testing.T) {
	r := start(t, nil)
	const query = "?deny_status=403"
	r.auth(query, "X-Api-Key", key).wants(t, 200, "", "X-RateLimit-Body", "", "X-RateLimit-Status", "")
	r.auth(query, "X-Api-Key", key).wants(t, 200, "")
	r.auth(query, "X-Api-Key", key).wants(t, 403, "",
		"X-RateLimit-Status", "429", "X-RateLimit-Body", strings.TrimSpace(limited), "Retry-After", "60", "X-RateLimit-Remaining", "0")
	r.auth(query).wants(t, 403, "", "X-RateLimit-Status", "401", "X-RateLimit-Body", strings.TrimSpace(noSuchKey))
	r.auth(query, "X-Api-Key", banned).wants(t, 403, "", "X-RateLimit-Status", "403")
	r.auth(query, "X-Api-Key", "caf\xe9").wants(t, 403, "", "X-RateLimit-Status", "401")
	r.auth(query, "X-Api-Key", key, "X-Sluice-Cost", "61", "X-Sluice-Tier", "pro", "X-Sluice-Token", token).wants(t, 403, "", "X-RateLimit-Status", "422")
	r.auth(query, "X-Api-Key", key, "X-Sluice-Cost", "many", "X-Sluice-Token", token).wants(t, 403, "", "X-RateLimit-Status", "400")
	r.auth(query, "X-Api-Key", key, "X-Sluice-Tier", "gold", "X-Sluice-Token", token).wants(t, 403, "", "X-RateLimit-Status", "400")
	if a := r.auth("?deny_status=429", "X-Api-Key", key); a.status != 400 {
		t.Errorf("a status that nginx does not pass on: %+v", a)
	}
}

func TestFullTableIsDeniedWithAWait(t *testing.T) {
	r := start(t, func(c *server.Config) { c.MaxKeys = 1 })
	r.auth("", "X-Api-Key", "first").wants(t, 200, "")
	a := r.auth("?deny_status=403", "X-Api-Key", "second")
	if wait := a.header.Get("Retry-After"); a.status != 403 || a.header.Get("X-RateLimit-Status") != "503" || wait < "30" || wait > "60" {
		t.Errorf("got %+v", a)
	}
}

func TestIETFHeaders(t *testing.T) {
	r := start(t, func(c *server.Config) { c.HTTPFields = true })
	r.auth("", "X-Api-Key", key).wants(t, 200, "", "RateLimit-Policy", `"60s";q=2;w=60`, "RateLimit", `"60s";r=1;t=60`)
}

// A window of 500 ms was once told as one of a second, beside one that is.
func TestIETFHeadersOfWindowsThatAreNoWholeSeconds(t *testing.T) {
	for windows, want := range map[string][2]string{
		"{limit: 5, per: 500ms}, {limit: 8, per: 1s}":    {`"500ms";q=5, "1s";q=8;w=1`, `"500ms";r=4;t=1, "1s";r=7;t=1`},
		"{limit: 5, per: 1500ms}, {limit: 8, per: 2s}":   {`"1500ms";q=5, "2s";q=8;w=2`, `"1500ms";r=4;t=2, "2s";r=7;t=2`},
		"{limit: 5, per: 10s}, {limit: 8, per: 10500ms}": {`"10s";q=5;w=10, "10500ms";q=8`, `"10s";r=4;t=10, "10500ms";r=7;t=11`},
	} {
		r := start(t, func(c *server.Config) {
			p, err := policy.Parse([]byte("tiers: {free: {windows: [" + windows + "], concurrent: 1}}"))
			if err != nil {
				t.Fatal(err)
			}
			c.HTTPFields, c.Policy = true, p
		})
		r.auth("", "X-Api-Key", key).wants(t, 200, "", "RateLimit-Policy", want[0], "RateLimit", want[1])
	}
}

func TestLeaseOverForwardAuth(t *testing.T) {
	r := start(t, nil)
	first := r.auth("?lease=1&ttl=10s", "X-Api-Key", key)
	lease := first.header.Get("X-RateLimit-Lease")
	first.wants(t, 200, "", "X-RateLimit-Remaining", "1")
	if lease == "" {
		t.Fatal("no lease")
	}
	if a := r.auth("?lease=1", "X-Api-Key", key); a.status != 429 || !strings.Contains(a.body, "concurrent runs") || a.header.Get("Retry-After") == "" || a.header.Get("X-RateLimit-Lease") != "" {
		t.Errorf("a run beyond the tier's: %+v", a)
	}
	r.do(http.MethodDelete, "/v1/leases/"+lease, "").wants(t, 204, "")
	second := r.auth("?lease=1&ttl=10s", "X-Api-Key", key)
	second.wants(t, 200, "", "X-RateLimit-Remaining", "0") // the denied run took no unit
	r.wait(70 * time.Second)
	third := r.auth("?lease=1&ttl=10s", "X-Api-Key", key)
	third.wants(t, 200, "")
	r.do(http.MethodDelete, "/v1/leases/"+second.header.Get("X-RateLimit-Lease"), "").wants(t, 204, "") // it was over: no error
	if a := r.do(http.MethodDelete, "/v1/leases/made-up", ""); a.status != 404 {
		t.Errorf("a made-up lease: %+v", a)
	}
	if a := r.auth("?lease=1&ttl=1h", "X-Api-Key", key); a.status != 400 || !strings.Contains(a.body, "ttl") {
		t.Errorf("a ttl out of range: %+v", a)
	}
}

func TestUndecidedIsNeverMirrored(t *testing.T) {
	h := newUndecided()
	for _, query := range []string{"", "?deny_status=403", "?lease=1"} {
		a := h.get(t, "/v1/auth"+query)
		if wait := a.header.Get("Retry-After"); a.status != 503 || wait < "30" || wait > "60" || a.header.Get("X-RateLimit-Body") != "" {
			t.Errorf("%q: %+v", query, a)
		}
	}
}
