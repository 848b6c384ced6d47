package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/gossip/gossiptest"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

// asNode, in the environment of a test binary, makes it a node with that policy file.
const asNode = "SLUICE_TEST_POLICY"

// asTLS, beside it, makes its port speak TLS, with the certificate and key of these files.
const asTLS = "SLUICE_TEST_TLS"

func TestMain(m *testing.M) {
	if path, ok := os.LookupEnv(asNode); ok {
		if err := beNode(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	gossiptest.VerifyTestMain(m)
}

// beNode runs a node until standard input ends: its address goes to standard output,
// its log, at debug level, to standard error.
func beNode(policyFile string) error {
	p, err := policy.Load(policyFile)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := server.Config{GRPC: "127.0.0.1:0", Policy: p, MaxKeys: 10_000, Log: log}
	config.Ports.GRPC.Cert, config.Ports.GRPC.Key, _ = strings.Cut(os.Getenv(asTLS), ",")
	n, err := server.Start(config)
	if err != nil {
		return err
	}
	fmt.Println(n.Addr())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.Shutdown(ctx)
}
