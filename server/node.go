// Package server puts a node together: the engine, the policy, and the faces that show
// them to the world, each a package below this one.
package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/rpc"
)

// Partitions is how many slices the key space has. All nodes of a cluster must agree on
// it; it is far above the number of nodes, so that each holds its fair share.
const Partitions = 1021

// Config says how a node is to be. The zero value of an optional field is stated.
type Config struct {
	GRPC     string           // address for gateways, host:port; port 0: any free one
	Policy   *policy.Policy   // nil: policy.Default
	Secret   []byte           // at least limiter.MinSecretLen bytes; nil: a random one
	MaxKeys  int              // keys with history or leases at a time
	WhenFull limiter.WhenFull // how new keys are treated when there are so many
	Log      *slog.Logger     // nil: slog.Default
}

// A Node is one running limiter.
type Node struct {
	log   *slog.Logger
	table *limiter.Table
	clock rpc.Clock
	rpc   *rpc.Server
	lis   net.Listener

	stop    context.CancelFunc // ends the background work
	workers sync.WaitGroup
	failed  chan error // why serving ended by itself
}

// Start starts a node: when it returns, the node answers.
func Start(c Config) (*Node, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Policy == nil {
		c.Policy = policy.Default()
	}
	if c.Secret == nil {
		c.Secret = make([]byte, 32)
		_, _ = rand.Read(c.Secret) // never fails
	}
	secrets, err := limiter.NewSecrets(c.Secret)
	if err != nil {
		return nil, err
	}
	table, err := limiter.NewTable(limiter.Config{Partitions: Partitions, MaxKeys: c.MaxKeys, WhenFull: c.WhenFull})
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", c.GRPC)
	if err != nil {
		return nil, fmt.Errorf("gRPC for gateways: %w", err)
	}
	n := &Node{log: c.Log, table: table, clock: rpc.NewClock(), lis: lis, failed: make(chan error, 1)}
	n.rpc = rpc.NewServer(rpc.Config{
		Table: table, Hasher: limiter.NewHasher(secrets, Partitions), Sealer: limiter.NewSealer(secrets, Partitions),
		Policy: c.Policy, Clock: n.clock, Log: c.Log,
	})
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.workers.Go(func() { n.sweep(ctx) })
	n.workers.Go(func() {
		if err := n.rpc.Serve(lis); err != nil {
			n.failed <- err
		}
	})
	if !isLoopback(lis.Addr()) {
		c.Log.Warn("the port for gateways is open to other machines, and neither encrypted nor authenticated", "address", n.Addr())
	}
	c.Log.Info("ready", "grpc", n.Addr(), "policy", c.Policy.Fingerprint(), "tiers", len(c.Policy.Tiers()), "known_keys", c.Policy.Keys(), "max_keys", c.MaxKeys)
	return n, nil
}

// Addr returns the address for gateways.
func (n *Node) Addr() string { return n.lis.Addr().String() }

// Failed delivers the error that ended the serving of calls, if one does.
func (n *Node) Failed() <-chan error { return n.failed }

// Shutdown stops the node: it says that it is not serving, answers the calls under way,
// and closes its ports. When ctx ends first, calls that are left are cut off and its error
// is returned.
func (n *Node) Shutdown(ctx context.Context) error {
	n.log.Info("shutting down")
	err := n.rpc.Shutdown(ctx)
	n.stop()
	n.workers.Wait()
	n.log.Info("stopped")
	return err
}

// The sweep looks at every key at least once a second while there are up to 250,000, and
// at 250,000 keys a second beyond: about half a percent of a core.
const (
	sweepEvery = 50 * time.Millisecond
	sweepKeys  = 12_500
)

// sweep forgets idle keys until ctx ends.
func (n *Node) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now, _ := n.clock()
			n.table.Sweep(now, sweepKeys)
		}
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// ReadSecret reads a cluster's secret from a file, without the white space around it.
func ReadSecret(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if len(b) < limiter.MinSecretLen {
		return nil, fmt.Errorf("%s: %w", path, errSecretShort)
	}
	return b, nil
}

var errSecretShort = errors.New("the secret has fewer than 16 bytes; make one with: openssl rand -hex 32")
