package demo_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/demo"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPolicy(t *testing.T) {
	p, err := demo.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if !p.RequireKnownKeys() || p.Keys() != 7 {
		t.Errorf("known keys required: %v, keys: %d", p.RequireKnownKeys(), p.Keys())
	}
	for _, want := range []struct {
		key, tier string
		status    policy.Status
	}{
		{demo.KeyFree, "free", policy.Active}, {demo.KeyPro, "pro", policy.Active}, {demo.KeyEnterprise, "enterprise", policy.Active},
		{demo.KeySuspended, "free", policy.Suspended}, {demo.KeyRevoked, "free", policy.Revoked},
		{"ip:127.0.0.1", "anonymous", policy.Active}, {"ip:::/64", "anonymous", policy.Active},
	} {
		got, err := p.Resolve(want.key, "")
		if err != nil || got.Status != want.status || got.Tier.Name() != want.tier {
			t.Errorf("%s: %+v, %v", want.key, got, err)
		}
	}
	for _, tier := range policy.Default().Tiers() {
		got, _ := p.Tier(tier.Name())
		if got == nil || got.Limit() != tier.Limit() || got.Concurrent() != tier.Concurrent() || got.MaxBody() != tier.MaxBody() {
			t.Errorf("the tier %s is not the contract's", tier.Name())
		}
	}
}

// api is the whole demo: node, gateway and upstream.
func api(t *testing.T) string {
	t.Helper()
	cfg, err := demo.GatewayConfig()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	node, err := server.Start(server.Config{GRPC: "127.0.0.1:0", Policy: cfg.Policy, MaxKeys: 1000, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Shutdown(context.Background()) })
	// One client each, as if they were processes of their own.
	ofGateway, ofWorker := dial(t, node.Addr()), dial(t, node.Addr())
	up := demo.NewUpstream(ofWorker)
	upstream := httptest.NewServer(up)
	t.Cleanup(up.Close)
	t.Cleanup(upstream.Close)
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(cfg, u, ofGateway, log)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, srv.Listener) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + srv.Listener.Addr().String()
}

func dial(t *testing.T, node string) *client.Client {
	t.Helper()
	c, err := client.New(node, client.WithTimeout(20*time.Second), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// call sends a request and returns its status and what it says.
func call(t *testing.T, base, request, key, body string) (int, map[string]any) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(context.Background(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var said map[string]any
	if err := json.Unmarshal(b, &said); err != nil {
		t.Fatalf("%s: %q: %v", request, b, err)
	}
	for _, name := range []string{contract.HeaderLimit, contract.HeaderRemaining, contract.HeaderReset, contract.HeaderRequestID} {
		if res.Header.Get(name) == "" {
			t.Errorf("%s: no %s", request, name)
		}
	}
	if said["run_id"] != nil != (said["task_id"] != nil) && said["status"] != contract.TaskFailed {
		t.Errorf("%s: %v has only one of run_id and task_id", request, said)
	}
	return res.StatusCode, said
}

func TestTour(t *testing.T) {
	base := api(t)
	for _, step := range []struct {
		request, key, body string
		status             int
		code               contract.Code
	}{
		{"GET /", "", "", 200, ""},
		{"GET /verify", demo.KeyFree, "", 200, ""},
		{"GET /verify", "", "", 401, contract.InvalidAPIKey},
		{"GET /verify", demo.KeyRevoked, "", 401, contract.InvalidAPIKey},
		{"GET /verify", "sk_live_made_up", "", 401, contract.InvalidAPIKey},
		{"GET /verify", demo.KeySuspended, "", 403, contract.Forbidden},
		{"POST /templates", demo.KeyPro, "", 403, contract.Forbidden},
		{"POST /templates", demo.KeyEnterprise, "", 201, ""},
		{"POST /files", demo.KeyPro, "abc", 201, ""},
		{"POST /files", demo.KeyFree, strings.Repeat("x", 10<<20+1), 413, contract.PayloadTooLarge},
		{"POST /excel/generate", demo.KeyPro, "", 200, ""},
		{"POST /excel/generate", demo.KeyPro, `{"ms": 1}`, 200, ""},
		{"POST /excel/generate", demo.KeyPro, `{"fail": "upstream_error"}`, 502, contract.UpstreamError},
		{"POST /excel/generate", demo.KeyPro, `{"ms": -1}`, 422, contract.ValidationError},
		{"POST /excel/generate", demo.KeyPro, `{"ms": "x"}`, 422, contract.ValidationError},
		{"POST /excel/generate", demo.KeyPro, `{"fail": "x"}`, 422, contract.ValidationError},
		{"POST /excel/generate", demo.KeyPro, `{`, 400, contract.InvalidRequest},
		{"POST /excel/generate", demo.KeyPro, `[]`, 400, contract.InvalidRequest},
		{"GET /tasks/task_none", demo.KeyPro, "", 404, contract.NotFound},
		{"GET /nothing", demo.KeyPro, "", 404, contract.NotFound},
		{"GET /verify?fail=nothing", demo.KeyPro, "", 400, contract.InvalidRequest},
	} {
		status, said := call(t, base, step.request, step.key, step.body)
		if code, _ := said["error"].(string); status != step.status || code != string(step.code) {
			t.Errorf("%s with %q: %d %v; want %d %s", step.request, step.key, status, said, step.status, step.code)
		}
	}
}

// Every error of the catalogue can be had, on any path, and passes the gateway.
func TestEveryError(t *testing.T) {
	base := api(t)
	for _, e := range contract.Catalogue() {
		for _, request := range []string{"GET /verify", "POST /excel/generate"} {
			status, said := call(t, base, request+"?fail="+string(e.Code), demo.KeyEnterprise, "")
			if status != e.Status || said["error"] != string(e.Code) || said["message"] != e.Message {
				t.Errorf("%s: %d %v", e.Code, status, said)
			}
		}
	}
}

// A task holds the slot of its run until it is done, and the demo's three runs of
// a free key are one too many.
func TestTaskHoldsItsSlot(t *testing.T) {
	base := api(t)
	var ids []string
	for range 2 {
		status, said := call(t, base, "POST /excel/generate", demo.KeyFree, `{"ms": 600000, "async": true}`)
		if status != 202 || said["status"] != "running" {
			t.Fatalf("%d %v", status, said)
		}
		ids = append(ids, said["task_id"].(string))
	}
	if status, said := call(t, base, "POST /excel/generate", demo.KeyFree, ""); status != 429 {
		t.Errorf("third run: %d %v", status, said)
	}
	if status, said := call(t, base, "GET /tasks/"+ids[0], demo.KeyFree, ""); status != 200 || said["status"] != "running" {
		t.Errorf("%d %v", status, said)
	}
}

func TestTaskEnds(t *testing.T) {
	base := api(t)
	for body, want := range map[string]string{
		`{"async": true}`: "succeeded",
		`{"async": true, "ms": 1, "fail": "internal_error"}`: "failed",
	} {
		status, said := call(t, base, "POST /excel/generate", demo.KeyEnterprise, body)
		if status != 202 {
			t.Fatalf("%d %v", status, said)
		}
		said = await(t, base, said["task_id"].(string))
		if said["status"] != want {
			t.Errorf("%s: %v", body, said)
		}
		if want == "failed" {
			b, _ := json.Marshal(said)
			if failed, ok := contract.ParseFailedTask(b); !ok || failed.Error.Code != contract.InternalError {
				t.Errorf("failed task is %s", b)
			}
		}
	}
	// Their slots are free: more of them than a pro key has pass one after the other.
	for range 12 {
		status, said := call(t, base, "POST /excel/generate", demo.KeyPro, `{"async": true}`)
		if status != 202 {
			t.Fatalf("%d %v", status, said)
		}
		await(t, base, said["task_id"].(string))
	}
}

// await polls a task, without a key's limit in the way, until it does not run.
func await(t *testing.T, base, id string) map[string]any {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if _, said := call(t, base, "GET /tasks/"+id, demo.KeyEnterprise, ""); said["status"] != "running" {
			return said
		}
		<-tick.C
	}
	t.Fatal("the task does not end")
	return nil
}

// Without a limiter the upstream works too, and forgets its oldest tasks.
func TestUpstreamAlone(t *testing.T) {
	up := demo.NewUpstream(nil)
	defer up.Close()
	post := func() (int, string) {
		w := httptest.NewRecorder()
		up.ServeHTTP(w, httptest.NewRequest("POST", "/excel/generate", strings.NewReader(`{"ms": 600000, "async": true}`)))
		var said struct {
			TaskID string `json:"task_id"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &said)
		return w.Code, said.TaskID
	}
	for i := range 1000 {
		if status, _ := post(); status != 202 {
			t.Fatalf("task %d: status %d", i, status)
		}
	}
	if status, _ := post(); status != 503 {
		t.Errorf("status %d, want 503: too many tasks run", status)
	}
	up.Close()
	up.Close()
	if status, _ := post(); status != 503 {
		t.Errorf("status %d, want 503 after Close", status)
	}
}
