//go:build gateways

// Package gateways_test runs real gateways with the configurations of this folder, a node and an
// API behind them, and holds what a client sees to the contract. It needs nginx, caddy and haproxy, which
// `make test-gateways` installs.
package gateways_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestGateways(t *testing.T) {
	for name, p := range programs {
		t.Run(name, func(t *testing.T) {
			t.Run("decides", func(t *testing.T) { p.decides(t) })
			t.Run("clients steer nothing", func(t *testing.T) { p.clientsSteerNothing(t) })
			t.Run("nothing goes around", func(t *testing.T) { p.nothingGoesAround(t) })
			t.Run("nothing is repeated", func(t *testing.T) { p.nothingIsRepeated(t) })
			t.Run("long headers pass nothing", func(t *testing.T) { p.longHeadersPassNothing(t) })
			for name, limiter := range map[string]func(*testing.T) string{
				"gone": nobody, "hung": hung, "undecided": answering(503), "not knowing the gateway": answering(401), "refusing the gateway": answering(403),
			} {
				t.Run("fails open, limiter "+name, func(t *testing.T) { p.failsOpen(t, limiter(t)) })
				t.Run("fails closed, limiter "+name, func(t *testing.T) { p.failsClosed(t, limiter(t)) })
			}
		})
	}
	t.Run("nginx/runs", func(t *testing.T) { runsHaveLeases(t, programs["nginx"]) })
}

func (p *program) decides(t *testing.T) {
	url := p.start(t, startNode(t).HTTPAddr(), startAPI(t), true) + "/api/items"
	status, h, body := request(t, "POST", url+"?a=1", key, "some body")
	wants(t, status, h, body, 200, `POST /api/items?a=1 "some body"`,
		"X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "1800000060", "Retry-After", "")

	// What the API itself answers is untouched.
	status, h, body = request(t, "GET", url+"?status=403", key, "")
	wants(t, status, h, body, 403, `GET /api/items?status=403 ""`, "X-RateLimit-Remaining", "0")

	status, h, body = request(t, "POST", url, key, "some body")
	wants(t, status, h, body, 429, limited, "Content-Type", "application/json", "Retry-After", "60", "Cache-Control", "no-store",
		"X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1800000060")
	for _, none := range []string{"", "caf\xe9", strings.Repeat("k", 257)} {
		status, h, body = request(t, "GET", url, none, "")
		wants(t, status, h, body, 401, noSuchKey, "Content-Type", "application/json", "Retry-After", "")
	}
	status, h, body = request(t, "GET", url, suspended, "")
	wants(t, status, h, body, 403, forbidden, "Content-Type", "application/json")

	for _, code := range []int{401, 403, 429, 500, 503} {
		other := fmt.Sprintf("another-key-%d", code)
		status, h, body = request(t, "GET", fmt.Sprintf("%s?status=%d", url, code), other, "")
		wants(t, status, h, body, code, fmt.Sprintf(`GET /api/items?status=%d ""`, code), "Retry-After", "")
	}
}

// What a client sends chooses neither its tier nor its cost, nor how the node is asked; and what is
// long and not for the node is no reason to let the request pass unlimited, or not at all.
func (p *program) clientsSteerNothing(t *testing.T) {
	node, api := startNode(t), startAPI(t)
	url := p.start(t, node.HTTPAddr(), api, true) + "/api/items"
	for i, c := range []struct {
		query   string
		headers []string
	}{
		{"", []string{"X-Sluice-Tier", "no-such-tier", "X-Sluice-Cost", "100", "X-Sluice-Token", "a token that is none"}},
		{"?lease=1&ttl=5", nil},
		{"?deny_status=429", nil},
		{"?lease=1", nil},
		{"", []string{"Cookie", "a=" + strings.Repeat("b", 7000)}},
		{"", []string{"X-RateLimit-Lease", "a client's", "X-RateLimit-Status", "200"}},
	} {
		of := fmt.Sprintf("key-%d", i)
		for remaining := 1; remaining >= 0; remaining-- {
			status, h, body := request(t, "POST", url+c.query, of, "some body", c.headers...)
			wants(t, status, h, body, 200, fmt.Sprintf("POST /api/items%s %q", c.query, "some body"), "X-RateLimit-Remaining", strconv.Itoa(remaining))
		}
		status, h, body := request(t, "POST", url+c.query, of, "some body", c.headers...)
		wants(t, status, h, body, 429, limited, "Retry-After", "60")
	}
}

// What an API may read otherwise than the gateway is no way around the limit.
func (p *program) nothingGoesAround(t *testing.T) {
	url := p.start(t, startNode(t).HTTPAddr(), startAPI(t), true)
	for i, c := range []struct {
		path string
		more func(n int) []string
	}{
		{"/%61pi/items", nil},
		{"//api/items", nil},
		{"/./api/items", nil},
		{"/api/items", func(n int) []string { return []string{"X-Api-Key", fmt.Sprint("another-", n)} }},
	} {
		of, passed := fmt.Sprintf("key-%d", i), 0
		for n := range 4 {
			var more []string
			if c.more != nil {
				more = c.more(n)
			}
			if status, _, body, err := try(t, "GET", url+c.path, of, "", more...); err == nil && status == 200 && strings.HasPrefix(body, "GET ") {
				passed++
			}
		}
		if passed > 2 {
			t.Errorf("%s: %d passed of a limit of 2", c.path, passed)
		}
	}
	passed := 0
	for n := range 4 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/items", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Api-Key"] = []string{fmt.Sprint("first-", n), "second"}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 && strings.Contains(string(body), "second") {
			passed++
		}
	}
	if passed > 0 {
		t.Errorf("%d of a key that was not counted passed", passed)
	}
}

// An API that takes a request and fails does not get it again.
func (p *program) nothingIsRepeated(t *testing.T) {
	for name, limiter := range map[string]func(*testing.T) string{
		"decided": func(t *testing.T) string { return startNode(t).HTTPAddr() }, "undecided": answering(503), "gone": nobody,
	} {
		var got atomic.Int32
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			got.Add(1)
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
		}))
		t.Cleanup(api.Close)
		url := p.start(t, limiter(t), strings.TrimPrefix(api.URL, "http://"), true) + "/api/items"
		for _, method := range []string{"POST", "DELETE"} {
			got.Store(0)
			if status, _, _, err := try(t, method, url, key, ""); err == nil && status < 500 {
				t.Errorf("limiter %s, %s: %d", name, method, status)
			}
			if n := got.Load(); n != 1 {
				t.Errorf("limiter %s: the API got a %s %d times", name, method, n)
			}
		}
	}
}

// Headers that are too long for the node, or for the gateway, are no way around the limit.
func (p *program) longHeadersPassNothing(t *testing.T) {
	url := p.start(t, startNode(t).HTTPAddr(), startAPI(t), true) + "/api/items"
	for i, length := range []int{5_000, 15_000, 30_000, 60_000} {
		for _, name := range []string{"X-Junk", "Cookie", "X-Request-Id", "X-Api-Key"} {
			of, passed := fmt.Sprintf("key-%d-%s", i, name), 0
			for range 3 {
				status, _, body, err := try(t, "GET", url, of, "", name, strings.Repeat("j", length))
				if status == 200 {
					passed++
				} else if err == nil && (status < 400 || status >= 500) { // a gateway may answer, and hang up, before it has read all
					t.Errorf("%s of %d bytes: %d %q", name, length, status, body)
				}
			}
			if passed > 2 {
				t.Errorf("%s of %d bytes: %d passed of a limit of 2", name, length, passed)
			}
		}
	}
}

// runsHaveLeases shows that the API gets a run's lease, and can end the run by it.
func runsHaveLeases(t *testing.T, p program) {
	leases := make(chan string, 8)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leases <- r.Header.Get("X-RateLimit-Lease") }))
	t.Cleanup(api.Close)
	at := startNode(t).HTTPAddr()
	url := p.start(t, at, strings.TrimPrefix(api.URL, "http://"), true) + "/api/runs/"
	status, _, _ := request(t, "POST", url, key, "", "X-RateLimit-Lease", "a client's")
	lease := <-leases
	if status != 200 || lease == "" || lease == "a client's" {
		t.Fatalf("the run: %d, lease %q", status, lease)
	}
	if status, h, body := request(t, "POST", url, key, ""); status != 429 || !strings.Contains(body, "concurrent runs") || h.Get("Retry-After") == "" {
		t.Errorf("a run beyond the tier's: %d %q", status, body)
	}
	if status, _, body := request(t, "DELETE", "http://"+at+"/v1/leases/"+lease, "", ""); status != 204 {
		t.Errorf("ending it: %d %q", status, body)
	}
	if status, _, body := request(t, "POST", url, key, ""); status != 200 {
		t.Errorf("the next run: %d %q", status, body)
	}
}

func (p *program) failsOpen(t *testing.T, limiterAt string) {
	url := p.start(t, limiterAt, startAPI(t), true) + "/api/items"
	status, h, body := request(t, "POST", url, key, "some body")
	wants(t, status, h, body, 200, `POST /api/items "some body"`, "X-RateLimit-Limit", "")
}

func (p *program) failsClosed(t *testing.T, limiterAt string) {
	url := p.start(t, limiterAt, startAPI(t), false) + "/api/items"
	status, h, body := request(t, "POST", url, key, "some body")
	wants(t, status, h, body, 503, undecided, "Content-Type", "application/json", "Retry-After", "30", "Cache-Control", "no-store")
}
