package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
)

// SIGHUP has the policy file read at once.
func TestHangupReloadsThePolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tiers: {one: {windows: [{limit: 5}]}}")
	node, err := server.Start(server.Config{GRPC: "127.0.0.1:0", MaxKeys: 10, PolicyFile: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Shutdown(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan struct{})
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	go func() {
		defer close(ended)
		reloadOnHangup(ctx, hangups, node)
	}()
	write("tiers: {one: {windows: [{limit: 7}]}}")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(node.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	zero := uint32(0)
	for limit := uint32(0); limit != 7; {
		resp, err := sluicev1.NewRateLimiterServiceClient(conn).Check(ctx, &sluicev1.CheckRequest{Key: "k", Cost: &zero})
		if err != nil {
			t.Fatalf("the limit is %d: %v", limit, err)
		}
		limit = resp.Decision.Limit
	}
	cancel()
	<-ended
}
