package httplimit_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

func TestRunIsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limiter := connected(t)
		h := limited(t, c, config(), func(w http.ResponseWriter, r *http.Request) {
			if held := limiter.Held(); len(held) != 1 {
				t.Errorf("held while the run is served: %v", held)
			}
			if id := httplimit.LeaseFromContext(r.Context()).ID(); id == "" {
				t.Error("the handler does not see its lease")
			}
			io.WriteString(w, "done")
		})
		w := serve(h, request("POST"))
		if w.Code != 200 || w.Body.String() != "done" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		wantLimit(t, w.Header(), "10", "9")
		if len(limiter.Calls("Check")) != 0 || len(limiter.Calls("Acquire")) != 1 {
			t.Errorf("%d checks and %d acquires for one run", len(limiter.Calls("Check")), len(limiter.Calls("Acquire")))
		}
		req := limiter.Calls("Acquire")[0].Request.(*sluicev1.AcquireRequest)
		if req.RequestCost == nil || *req.RequestCost != 1 || req.TtlMs != 30_000 || req.Tier != "pro" {
			t.Errorf("asked %v", req)
		}
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held after the run: %v", held)
		}
	})
}

func TestThirdRunIsDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limiter := connected(t)
		finish := make(chan struct{})
		h := limited(t, c, config(), func(w http.ResponseWriter, _ *http.Request) { <-finish })
		done := make(chan int)
		for range 2 {
			go func() { done <- serve(h, request("POST")).Code }()
		}
		synctest.Wait()
		w := serve(h, request("POST"))
		if m := wantError(t, w, 429, "rate_limit_exceeded"); !strings.Contains(m, "concurrent runs") {
			t.Errorf("message %q", m)
		}
		wantLimit(t, w.Header(), "10", "8")
		if got := w.Header().Get("Retry-After"); got != "5" { // the hint of 4.2 s
			t.Errorf("Retry-After %s", got)
		}
		close(finish)
		if a, b := <-done, <-done; a != 200 || b != 200 {
			t.Errorf("the two runs: %d, %d", a, b)
		}
		if len(limiter.Held()) != 0 || limiter.Used() != 2 {
			t.Errorf("held %v, %d units used", limiter.Held(), limiter.Used())
		}
	})
}

func TestPanicFreesTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limiter := connected(t)
		h := limited(t, c, config(), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("the panic did not go on")
				}
			}()
			serve(h, request("POST"))
		}()
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held %v", held)
		}
	})
}

func TestClientGoneFreesTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limiter := connected(t)
		ctx, cancel := context.WithCancel(t.Context())
		h := limited(t, c, config(), func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		serve(h, request("POST").WithContext(ctx))
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held %v", held)
		}
	})
}

func TestAcceptedRunKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limiter := connected(t)
		var id string
		h := limited(t, c, config(), func(w http.ResponseWriter, r *http.Request) {
			id = httplimit.LeaseFromContext(r.Context()).ID()
			w.WriteHeader(http.StatusEarlyHints) // not the answer yet
			w.WriteHeader(http.StatusAccepted)
		})
		serve(h, request("POST"))
		if left := time.Until(limiter.Expires(id)); left != 30*time.Second {
			t.Fatalf("the worker has %v to take the lease over, want 30 s", left)
		}
		worker := c.Attach(id, 0)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(limiter.Held()) != 1 {
			t.Error("the worker could not keep the lease")
		}
		if err := worker.Release(t.Context()); err != nil || len(limiter.Held()) != 0 {
			t.Errorf("%v, held %v", err, limiter.Held())
		}
	})
}

// A client that runs one thing after the other never meets its own last run.
func TestSlotIsFreeWhenTheResponseIsThere(t *testing.T) {
	c, limiter := connected(t, client.WithTimeout(10*time.Second))
	limiter.Slots, limiter.Units = 1, 1000
	srv := httptest.NewServer(limited(t, c, config(), func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "done")
	}))
	defer srv.Close()
	for i := range 100 {
		req, err := http.NewRequest("POST", srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "sk_live_1")
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("run %d: %s", i+1, res.Status)
		}
	}
}

func TestRunIDs(t *testing.T) {
	limiter := &told{grant: client.Grant{Granted: true}}
	h := limited(t, limiter, config(), nil)
	for range 2 {
		r := request("POST")
		r.Header.Set("X-Request-Id", "same")
		serve(h, r)
	}
	a, b := limiter.acquires[0].RunID, limiter.acquires[1].RunID
	if a == b || !strings.HasPrefix(a, "same-") || !strings.HasPrefix(b, "same-") {
		t.Errorf("run ids %q and %q, want two that begin with the request id", a, b)
	}
	cfg := config()
	cfg.RunID = func(r *http.Request) string { return r.Header.Get("Idempotency-Key") }
	r := request("POST")
	r.Header.Set("Idempotency-Key", "mine")
	serve(limited(t, limiter, cfg, nil), r)
	if got := limiter.acquires[2].RunID; got != "mine" {
		t.Errorf("run id %q, want that of Config.RunID", got)
	}
}

// What a handler can do with its ResponseWriter, it can do in a run.
func TestResponseWriterOfARun(t *testing.T) {
	limiter := &told{grant: client.Grant{Granted: true}}
	srv := httptest.NewServer(limited(t, limiter, config(), func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flush":
			io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
			<-r.Context().Done() // the client has read the part, and goes
		case "/copy":
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("no io.ReaderFrom")
			}
			io.Copy(w, strings.NewReader("copied"))
		case "/hijack":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 299 mine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			conn.Close()
		}
	}))
	defer srv.Close()
	post := func(path string, n int) (int, string) {
		req, err := http.NewRequest("POST", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "sk_live_1")
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := make([]byte, n)
		io.ReadFull(res.Body, b)
		return res.StatusCode, string(b)
	}
	for _, tt := range []struct {
		path, body string
		status     int
	}{{"/flush", "part", 200}, {"/copy", "copied", 200}, {"/hijack", "", 299}} {
		if status, body := post(tt.path, len(tt.body)); status != tt.status || body != tt.body {
			t.Errorf("%s: %d %q", tt.path, status, body)
		}
	}
}
