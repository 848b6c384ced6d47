//go:build gateways

package gateways_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

const (
	key       = "sk_live_0123456789abcdef"
	suspended = "sk_live_suspended"

	limited   = `{"success":false,"error":"rate_limit_exceeded","message":"Too many requests. Please wait a moment and try again."}`
	noSuchKey = `{"success":false,"error":"invalid_api_key","message":"The API key is missing, malformed or no longer valid."}`
	undecided = `{"success":false,"error":"service_unavailable","message":"The service is at capacity or under maintenance. Please try again in a minute."}`
	forbidden = `{"success":false,"error":"forbidden","message":"The organization of this API key is suspended."}`
)

// wall is when the node's clock, which stands still, says it is.
var wall = time.Unix(1_800_000_000, 0)

// startNode starts a node with two requests a minute for each key.
func startNode(t *testing.T) *server.Node {
	t.Helper()
	p, err := policy.Parse(fmt.Appendf(nil, `
tiers:
  free: {windows: [{limit: 2, per: 1m}], concurrent: 1}
keys:
  - {sha256: "%s", status: suspended}
`, policy.HashKey(suspended)))
	if err != nil {
		t.Fatal(err)
	}
	node, err := server.Start(server.Config{
		GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", EnvoyRateLimit: true, Policy: p, MaxKeys: 1000, Log: slog.New(slog.DiscardHandler),
		Clock: func() (limiter.Instant, time.Time) { return limiter.Instant(100 * 24 * time.Hour), wall },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNode(t, node) })
	return node
}

// stopNode is not called twice for a node.
func stopNode(t *testing.T, node *server.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := node.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// startAPI starts an API that tells what it got, and answers with the status in the query.
func startAPI(t *testing.T) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if status, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
			w.WriteHeader(status)
		}
		fmt.Fprintf(w, "%s %s %q", r.Method, r.URL, body)
		if keys := r.Header["X-Api-Key"]; len(keys) > 1 {
			fmt.Fprint(w, keys)
		}
	}))
	t.Cleanup(api.Close)
	return strings.TrimPrefix(api.URL, "http://")
}

// A program is a gateway.
type program struct {
	file    string
	beside  []string // files that must lie beside it
	command func(file, folder string) *exec.Cmd
	closed  func(string) string // makes a configuration that fails open fail closed
}

var programs = map[string]program{
	"nginx": {
		file: "nginx.conf",
		command: func(file, folder string) *exec.Cmd {
			return exec.Command("nginx", "-p", folder, "-c", file, "-e", "stderr", "-g",
				"daemon off; pid "+filepath.Join(folder, "pid")+";")
		},
		closed: func(conf string) string { return strings.Replace(conf, "return 204;", "return 500;", 1) },
	},
	"haproxy": {
		file:    "haproxy.cfg",
		command: func(file, _ string) *exec.Cmd { return exec.Command("haproxy", "-f", file) },
		closed: func(conf string) string {
			return strings.Replace(conf, "global\n", "global\n  setenv SLUICE_FAIL_CLOSED 1\n", 1)
		},
		beside: []string{"haproxy.lua"},
	},
	"caddy": {
		file: "Caddyfile",
		command: func(file, folder string) *exec.Cmd {
			c := exec.Command("caddy", "run", "--adapter", "caddyfile", "--config", file)
			c.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
			return c
		},
		closed: func(conf string) string {
			return strings.NewReplacer("(undecided)", "(fail_open)", "(fail_closed)", "(undecided)").Replace(conf)
		},
	},
}

// start starts the gateway and returns its URL.
func (p *program) start(t *testing.T, limiterAt, api string, failOpen bool) string {
	t.Helper()
	b, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := lis.Addr().String()
	lis.Close()
	conf := string(b)
	if !failOpen {
		if conf = p.closed(conf); conf == string(b) {
			t.Fatal("nothing was changed to make it fail closed")
		}
	}
	conf = strings.NewReplacer("127.0.0.1:7080", limiterAt, "127.0.0.1:9000", api, "127.0.0.1:8080", at).Replace(conf)
	folder := t.TempDir()
	file := filepath.Join(folder, p.file)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range p.beside {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := p.command(file, folder)
	cmd.Dir = folder
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", at, time.Second)
		if err == nil {
			conn.Close()
			return "http://" + at
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not listen")
		}
	}
}

// request sends a request with a key, unless that is "", and returns the answer.
func request(t *testing.T, method, url, key, body string, more ...string) (status int, header http.Header, got string) {
	t.Helper()
	status, header, got, err := try(t, method, url, key, body, more...)
	if err != nil {
		t.Fatal(err)
	}
	return status, header, got
}

// try is request for one that the gateway may cut off.
func try(t *testing.T, method, url, key, body string, more ...string) (status int, header http.Header, got string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(more); i += 2 {
		req.Header.Set(more[i], more[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, strings.TrimSuffix(string(b), "\n"), err
}

// wants fails the test unless a request is answered so. Headers are names and values in turn.
func wants(t *testing.T, status int, header http.Header, body string, wantStatus int, wantBody string, headers ...string) {
	t.Helper()
	if status != wantStatus || body != wantBody {
		t.Errorf("got %d %q, want %d %q", status, body, wantStatus, wantBody)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := header.Values(headers[i]); len(got) > 1 || header.Get(headers[i]) != headers[i+1] {
			t.Errorf("%s is %q, want %q", headers[i], got, headers[i+1])
		}
	}
}

// nobody is an address where nobody listens.
func nobody(t *testing.T) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// hung is a limiter that takes requests and never answers.
func hung(t *testing.T) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis.Addr().String()
}

// answering returns a limiter that answers all with a status, and a page of its own.
func answering(status int) func(t *testing.T) string {
	return func(t *testing.T) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, "not for the client")
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
}
