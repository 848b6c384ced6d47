package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
)

func TestThirdRunIsDenied(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	r := newRig(t, setup{upstream: func(http.ResponseWriter, *http.Request) {
		started <- struct{}{}
		<-finish
	}})
	done := make(chan result)
	for range 2 {
		go func() { done <- r.request(t, "POST", "/run", free, nil) }()
		<-started
	}
	res := r.request(t, "POST", "/run", free, nil)
	if body := res.wantError(t, contract.RateLimitExceeded); !strings.Contains(body.Message, "concurrent runs") {
		t.Errorf("message is %q", body.Message)
	}
	if wait := res.number(t, contract.HeaderRetryAfter); wait < 1 || wait > 60 {
		t.Errorf("Retry-After is %d", wait)
	}
	if got := r.left(t, free); got != 8 {
		t.Errorf("%d units left, want 8: a denial takes nothing", got)
	}
	close(finish)
	for range 2 {
		res := <-done
		res.wantHeaders(t)
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use", n)
	}
}

// A run is one call of the limiter, and takes one unit.
func TestRunIsOneAcquire(t *testing.T) {
	var counted failingLimiter
	r := newRig(t, setup{limiter: func(c *client.Client) gateway.Limiter {
		counted.Limiter = c
		return &counted
	}})
	r.request(t, "POST", "/run", pro, nil)
	r.request(t, "GET", "/run", pro, nil)
	if got := fmt.Sprint(counted.asks); got != "[acquire check]" {
		t.Errorf("calls were %v", got)
	}
	if got := r.left(t, pro); got != 58 {
		t.Errorf("%d units left, want 58", got)
	}
}

// A slot is free when the client has the response, however that ended.
func TestSlotIsFreeWhenTheResponseIsThere(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"answer":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") },
		"no body":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"large answer": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) },
		"sized answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.Write(make([]byte, 200_000))
		},
		"error of the contract": func(w http.ResponseWriter, _ *http.Request) {
			contract.WriteError(w, contract.Error{Code: contract.PreflightFailed})
		},
		"other error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "trace", 500) },
		"reset":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, upstream := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{upstream: upstream})
			for i := range 9 { // with 2 slots
				res := r.request(t, "POST", "/run", free, nil)
				res.wantHeaders(t)
				if res.status == http.StatusTooManyRequests {
					t.Fatalf("run %d was denied", i)
				}
			}
			if n := r.inUse(t, free); n != 0 {
				t.Errorf("%d runs in use", n)
			}
		})
	}
}

// The slot is given up before the last bytes go out: while that takes its time, no
// client can have read them.
func TestSlotIsFreeBeforeTheLastBytes(t *testing.T) {
	read := make(chan struct{})
	r := newRig(t, setup{
		upstream: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.Write(make([]byte, 200_000))
		},
		release: func() {
			select {
			case <-read:
				t.Error("the response was there before the slot was free")
			case <-time.After(50 * time.Millisecond):
			}
		},
	})
	if res := r.request(t, "POST", "/run", free, nil); len(res.body) != 200_000 {
		t.Errorf("%d bytes, %v", len(res.body), res.err)
	}
	close(read)
}

// To a client that has gone nothing is written.
func TestNothingIsWrittenToAClientThatHasGone(t *testing.T) {
	r := newRig(t, setup{unserved: true})
	ctx, leave := context.WithCancel(context.Background())
	leave()
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler || w.Body.Len() > 0 {
			t.Errorf("panic is %v, body %q", p, w.Body)
		}
	}()
	r.gateway.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/run", nil))
}

func TestBrokenResponseFreesTheSlot(t *testing.T) {
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}})
	res := r.request(t, "POST", "/run", free, nil)
	if res.status != 200 || res.err == nil {
		t.Errorf("status %d, %q, %v; want a body that breaks off", res.status, res.body, res.err)
	}
	r.waitInUse(t, free, 0)
	if r.logs.count("upstream broke off its response") != 1 {
		t.Errorf("log is %s", r.logs)
	}
}

// A client that goes away frees the slot, and the upstream's work is canceled.
func TestClientGoneFreesTheSlot(t *testing.T) {
	for _, begun := range []bool{false, true} {
		t.Run(fmt.Sprintf("response begun: %v", begun), func(t *testing.T) {
			working, canceled := make(chan struct{}), make(chan struct{})
			r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
				if begun {
					http.NewResponseController(w).Flush()
				}
				close(working)
				<-r.Context().Done()
				close(canceled)
			}})
			ctx, leave := context.WithCancel(context.Background())
			req, _ := http.NewRequestWithContext(ctx, "POST", r.url+"/run", nil)
			req.Header.Set("Authorization", "bearer "+free)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if res, err := transport.RoundTrip(req); err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil {
						t.Error("the response was complete")
					}
				}
			}()
			<-working
			if n := r.inUse(t, free); n != 1 {
				t.Errorf("%d runs in use, want 1", n)
			}
			leave()
			<-gone
			<-canceled
			r.waitInUse(t, free, 0)
			if r.logs.count("upstream failed") != 0 {
				t.Error("the upstream was blamed")
			}
		})
	}
}

// After 202 the lease is the worker's.
func TestAcceptedKeepsTheLease(t *testing.T) {
	leases := make(chan string, 1)
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		leases <- r.Header.Get(gateway.LeaseHeader)
		w.Header().Set(gateway.LeaseHeader, r.Header.Get(gateway.LeaseHeader))
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"task_id":"task_1"}`)
	}})
	res := r.request(t, "POST", "/run", free, nil)
	res.wantHeaders(t)
	if res.status != 202 {
		t.Fatalf("status %d", res.status)
	}
	if n := r.inUse(t, free); n != 1 {
		t.Errorf("%d runs in use, want 1", n)
	}
	lease := r.client.Attach(<-leases, time.Minute)
	if err := lease.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use, want 0", n)
	}
}

// A worker may be done before its 202 is through; that is no news for the log.
func TestWorkerFasterThanItsAnswer(t *testing.T) {
	var r *rig
	r = newRig(t, setup{upstream: func(w http.ResponseWriter, req *http.Request) {
		// Another client, as a worker has: the gateway's own would know the lease.
		if err := r.release(req.Header.Get(gateway.LeaseHeader)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
	}})
	if res := r.request(t, "POST", "/run", free, nil); res.status != 202 {
		t.Fatalf("status %d", res.status)
	}
	if strings.Contains(r.logs.String(), "lease not given up") {
		t.Errorf("log is %s", r.logs)
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use", n)
	}
}

// The lease's id is for the upstream only: neither header, trailer nor early hint
// brings it to a client, and no client can send one.
func TestLeaseHeaderStaysInside(t *testing.T) {
	seen := make(chan http.Header, 1)
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		lease := r.Header.Get(gateway.LeaseHeader)
		h := w.Header()
		h["X-Ratelimit-Lease"], h["X_RateLimit_Lease"] = []string{lease, lease}, []string{lease}
		h.Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Trailer", "X-RateLimit-Lease, X-Sum")
		io.WriteString(w, "fine")
		h.Set("X-Sum", "1")
		h.Set(http.TrailerPrefix+"X-RateLimit-Lease", lease)
	}})
	hints := 0
	ctx := withHints(context.Background(), func(h http.Header) {
		hints++
		if h.Get("Link") == "" || len(h) != 1 {
			t.Errorf("early hints are %v", h)
		}
	})
	for path, run := range map[string]bool{"/run": true, "/files": false} {
		req, _ := http.NewRequestWithContext(ctx, "POST", r.url+path, nil)
		req.Header = http.Header{
			"Authorization":     {"Bearer " + pro},
			"X-Ratelimit-Lease": {"forged"},
			"X_RateLimit_Lease": {"forged"},
			"Connection":        {"X-RateLimit-Lease"},
		}
		res := do(t, req)
		res.wantHeaders(t)
		for name := range res.trailer {
			if strings.Contains(strings.ToLower(name), "lease") {
				t.Errorf("%s: the trailer is %v", path, res.trailer)
			}
		}
		if res.trailer.Get("X-Sum") != "1" {
			t.Errorf("%s: the upstream's own trailer is lost: %v", path, res.trailer)
		}
		h := <-seen
		if got := h.Values(gateway.LeaseHeader); run != (len(got) == 1 && len(got[0]) > 20) || !run && len(got) != 0 {
			t.Errorf("%s: the upstream got the lease ids %q", path, got)
		}
		if _, ok := h["X_ratelimit_lease"]; ok {
			t.Errorf("%s: the upstream got %v", path, h)
		}
		for name, values := range h {
			if strings.Contains(fmt.Sprint(values), "forged") {
				t.Errorf("%s: the client's own %s reached the upstream", path, name)
			}
		}
	}
	if hints != 2 {
		t.Errorf("%d early hints, want 2", hints)
	}
}

func TestBugIsAnInternalError(t *testing.T) {
	r := newRig(t, setup{limiter: func(*client.Client) gateway.Limiter { return &failingLimiter{bug: true} }})
	res := r.request(t, "GET", "/", free, nil)
	if _, ok := contract.ParseBody(res.body); res.status != 500 || !ok {
		t.Errorf("status %d, %q", res.status, res.body)
	}
	log := r.logs.String()
	if !strings.Contains(log, "bug in the gateway") || !strings.Contains(log, res.header.Get(contract.HeaderRequestID)) || strings.Contains(log, free) {
		t.Errorf("log is %s", log)
	}
}
