package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
)

// served serves the rig's gateway until stop is called; done delivers what Serve
// returned.
func (r *rig) served(t *testing.T) (stop func(), done chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	r.url, done = "http://"+l.Addr().String(), make(chan error, 1)
	go func() { done <- r.gateway.Serve(ctx, l) }()
	return stop, done
}

// Requests under way finish, and their slots are free when Serve returns.
func TestStopLetsRequestsFinish(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	r := newRig(t, setup{unserved: true, upstream: func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-finish
		io.WriteString(w, "done")
	}})
	stop, done := r.served(t)
	answer := make(chan result)
	go func() { answer <- r.request(t, "POST", "/run", free, nil) }()
	<-started
	stop()
	for { // until it listens no more
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			break
		}
		conn.Close()
	}
	close(finish)
	if res := <-answer; res.status != 200 || string(res.body) != "done" {
		t.Errorf("status %d, %q", res.status, res.body)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use", n)
	}
}

// What is not done in time is cut off, and frees its slot.
func TestStopCutsOffWhatDoesNotFinish(t *testing.T) {
	started := make(chan struct{})
	release := func() { <-time.After(50 * time.Millisecond) } // Serve must wait for it
	r := newRig(t, setup{unserved: true, release: release, upstream: func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	}})
	r.gateway.SetDrain(1)
	stop, done := r.served(t)
	broke := make(chan error)
	go func() {
		req, _ := http.NewRequest("POST", r.url+"/run", nil)
		req.Header.Set("Authorization", "Bearer "+free)
		res, err := transport.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		broke <- err
	}()
	<-started
	stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Serve returned %v", err)
	}
	if n := r.held(t, free); n != 0 {
		t.Errorf("%d runs in use when Serve returned", n)
	}
	if <-broke == nil {
		t.Error("the client got an answer")
	}
}

// A WebSocket whose client does not read is cut off too.
func TestStopCutsOffAWebSocketThatIsNotRead(t *testing.T) {
	stuck := make(chan struct{})
	r := newRig(t, setup{
		unserved: true,
		config:   func(c *gateway.Config) { c.Routes = []gateway.Route{{Pattern: "GET /socket", Run: true}} },
		upstream: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			for err == nil {
				conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				_, err = conn.Write(make([]byte, 1<<16))
			}
			close(stuck)
			io.Copy(io.Discard, conn)
		},
	})
	stop, done := r.served(t)
	conn := r.dial(t)
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", free)
	<-stuck
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Serve does not return")
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use when Serve returned", n)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	r := newRig(t, setup{unserved: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := r.gateway.Serve(context.Background(), l); err == nil {
		t.Error("Serve returned nil")
	}
}

// Requests of odd forms are answered by the contract too.
func TestOddRequests(t *testing.T) {
	r := newRig(t, setup{})
	for _, line := range []string{"OPTIONS * HTTP/1.1", "CONNECT x:443 HTTP/1.1", "GET http://elsewhere/public/%2e%2e HTTP/1.1", "X / HTTP/1.1"} {
		conn := r.dial(t)
		io.WriteString(conn, line+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 401") || !strings.Contains(string(b), "X-RateLimit-Limit: 5") {
			t.Errorf("%s: %q, %v", line, b, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good, _ := url.Parse("http://127.0.0.1:9000/base")
	limiter := &failingLimiter{}
	log := slog.New(slog.DiscardHandler)
	if _, err := gateway.New(gateway.DefaultConfig(), good, limiter, log); err != nil {
		t.Errorf("New: %v", err)
	}
	for _, bad := range []string{"", "127.0.0.1:9000", "ftp://x", "http://", "http://u:p@x", "http://x?q=1", "http://x#f"} {
		u, err := url.Parse(bad)
		if err != nil {
			u = nil
		}
		if _, err := gateway.New(gateway.DefaultConfig(), u, limiter, log); err == nil || !strings.Contains(err.Error(), "upstream") {
			t.Errorf("New with upstream %q: %v", bad, err)
		}
	}
	if _, err := gateway.New(gateway.DefaultConfig(), good, nil, log); err == nil {
		t.Error("New without a limiter did not fail")
	}
	if _, err := gateway.New(gateway.Config{}, good, limiter, log); err == nil || !strings.Contains(err.Error(), "policy: ") {
		t.Errorf("New with an empty Config: %v", err)
	}
}

func TestUpstreamWithAPath(t *testing.T) {
	seen := make(chan string, 1)
	up := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r.URL.Path }})
	// A gateway in front of a gateway: its errors are the contract's, and pass.
	r := newRig(t, setup{at: up.url + "/v1/"})
	if res := r.request(t, "GET", "/verify", pro, nil); res.status != 200 {
		t.Errorf("status %d", res.status)
	}
	if got := <-seen; got != "/v1/verify" {
		t.Errorf("path is %s", got)
	}
	r.request(t, "GET", "/verify", unlisted, nil)
	<-seen
	for range 10 {
		up.request(t, "POST", "/templates", free, nil).wantError(t, contract.Forbidden)
	}
	r.request(t, "GET", "/verify", free, nil).wantError(t, contract.RateLimitExceeded)
}
