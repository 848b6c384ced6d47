package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
)

// TestNodeByDefault starts a node with as little as may be given.
func TestNodeByDefault(t *testing.T) {
	var log bytes.Buffer
	n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", MaxKeys: 10, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, n.Addr())
	if d, _ := timed(t, c, "k"); !d.GetAllowed() || d.GetLimit() != 10 {
		t.Errorf("%v, want the tier free of the contract", d)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := c.Check(t.Context(), &sluicev1.CheckRequest{Key: "k"}); status.Code(err) != codes.Unavailable {
		t.Errorf("after the shutdown: %v", err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown again: %v", err)
	}
	select {
	case err := <-n.Failed():
		t.Errorf("a shutdown is no failure: %v", err)
	default:
	}
	if s := log.String(); !strings.Contains(s, "msg=ready grpc="+n.Addr()) || !strings.Contains(s, "msg=stopped") || strings.Contains(s, "WARN") {
		t.Errorf("the log is %s", s)
	}
}

// TestSecret holds that nodes with one secret know each other's leases, and others do not.
func TestSecret(t *testing.T) {
	start := func(secret []byte) sluicev1.RateLimiterServiceClient {
		n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", MaxKeys: 10, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
		return dial(t, n.Addr())
	}
	ours := []byte("the secret of our cluster")
	g, err := start(ours).Acquire(t.Context(), &sluicev1.AcquireRequest{Key: "k", RunId: "r", TtlMs: 30_000})
	if err != nil {
		t.Fatal(err)
	}
	req := &sluicev1.ReleaseRequest{LeaseId: g.GetLeaseId()}
	if resp, err := start(ours).Release(t.Context(), req); err != nil || resp.GetReleased() {
		t.Errorf("a node with our secret: %v, %v; want the lease known but not live", resp, err)
	}
	for _, secret := range [][]byte{nil, []byte("the secret of their cluster")} {
		if resp, err := start(secret).Release(t.Context(), req); status.Code(err) != codes.NotFound {
			t.Errorf("a node with secret %q: %v, %v", secret, resp, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for what, test := range map[string]struct {
		config server.Config
		says   string
	}{
		"no keys":        {server.Config{GRPC: "127.0.0.1:0"}, "max keys is 0"},
		"a short secret": {server.Config{GRPC: "127.0.0.1:0", MaxKeys: 1, Secret: []byte("short")}, "secret has 5 bytes"},
		"when full":      {server.Config{GRPC: "127.0.0.1:0", MaxKeys: 1, WhenFull: limiter.Open + 1}, "when full"},
		"a taken port":   {server.Config{GRPC: taken.Addr().String(), MaxKeys: 1}, "gRPC for gateways: listen"},
	} {
		if n, err := server.Start(test.config); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v; want an error that says %q", what, n, err, test.says)
		}
	}
}

func TestReadSecret(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got, err := server.ReadSecret(file("\n 0123456789abcdef \n")); err != nil || string(got) != "0123456789abcdef" {
		t.Errorf("got %q, %v", got, err)
	}
	short := file(" 0123456789abcde ")
	if got, err := server.ReadSecret(short); err == nil || !strings.HasPrefix(err.Error(), short+": ") || strings.Contains(err.Error(), "0123") {
		t.Errorf("a short one: %q, %v; want an error that names the file and no secret", got, err)
	}
	if _, err := server.ReadSecret(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
