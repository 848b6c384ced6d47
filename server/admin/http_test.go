package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

// get asks for a page on a connection of its own.
func (r *rig) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + r.addr + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return resp.StatusCode, string(b)
}

// One port serves what Prometheus collects, profiles and gRPC.
func TestPagesBesideCalls(t *testing.T) {
	r := serve(t, &fakeCluster{members: func(context.Context) []member { return nil }}, tiers(t))
	for path, want := range map[string]string{
		"/metrics": "some 1\n", "/livez": "ok\n", "/readyz": "ok\n", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/cmdline": "test",
	} {
		if code, body := r.get(t, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %q; want it to hold %q", path, code, body, want)
		}
	}
	if code, _ := r.get(t, "/nothing"); code != 404 {
		t.Errorf("a page that there is not: %d", code)
	}
	if _, err := r.Members(t.Context(), &adminv1.MembersRequest{}); err != nil {
		t.Error(err)
	}
}

// A profile that takes a minute holds up no shutdown.
func TestShutdownEndsProfile(t *testing.T) {
	r := serve(t, &fakeCluster{}, tiers(t))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r.get(t, "/debug/pprof/profile?seconds=60")
	}()
	for begun := false; !begun && !t.Failed(); {
		_, stacks := r.get(t, "/debug/pprof/goroutine?debug=2")
		begun = strings.Contains(stacks, "pprof.Profile(")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-answered
}

// Whoever sends a part of a body and stalls, with a token or without, once kept the connection for
// ever.
func TestAStalledBodyIsGivenUp(t *testing.T) {
	tokens := pkitest.Write(t, filepath.Join(t.TempDir(), "tokens"), []byte("the token of operators, long enough\n"))
	for path, want := range map[string]string{"/livez": " 200 OK", "/metrics": " 401 Unauthorized"} {
		synctest.Test(t, func(t *testing.T) {
			r, begun := inMemory(t, tokens), time.Now()
			if _, err := io.WriteString(r, "GET "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx"); err != nil {
				t.Fatal(err)
			}
			_ = r.SetReadDeadline(begun.Add(time.Hour))
			answer, err := io.ReadAll(r)
			if took := time.Since(begun); err != nil || took != 10*time.Second || !strings.Contains(string(answer), want) {
				t.Errorf("%s: after %v %q, %v; want %q after 10s", path, took, answer, err, want)
			}
		})
	}
}

// A request without a body takes as long as it likes.
func TestAProfileOutlivesTheTimeOfABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inMemory(t, "")
		if _, err := io.WriteString(r, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(answer), "a minute later") {
			t.Errorf("%q, %v", answer, err)
		}
	})
}

// inMemory returns a connection to a server that asks for tokens, if there is a file of them, and
// whose metrics take a minute.
func inMemory(t *testing.T, tokens string) net.Conn {
	t.Helper()
	c := admin.Config{Node: "b", Partitions: partitions, Cluster: &fakeCluster{}, Policy: tiers(t), Log: slog.New(slog.DiscardHandler)}
	c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
			_, _ = io.WriteString(w, "a minute later")
		}
	})
	if tokens != "" {
		guard, err := secure.Open(secure.Port{Name: "admin", TokenFile: tokens, Probed: true}, c.Log)
		if err != nil {
			t.Fatal(err)
		}
		c.Guard = guard
	}
	server, lis := admin.NewServer(c), memory{accept: make(chan net.Conn, 1), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	ours, theirs := net.Pipe()
	lis.accept <- theirs
	t.Cleanup(func() {
		_ = ours.Close()
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return ours
}

// memory is a listener whose connections are sent to it.
type memory struct {
	accept chan net.Conn
	closed chan struct{}
}

func (m memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.accept:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m memory) Close() error {
	close(m.closed)
	return nil
}

func (m memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
