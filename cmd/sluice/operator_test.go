package main

import (
	"context"
	"errors"
	"flag"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/admin"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden holds got against a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// operated is a cluster that says what the test wants.
type operated struct {
	members []member
	onAsked func(times int64) // if set, called when members are asked for
	asked   atomic.Int64
	key     peer.KeyStatus
	found   bool
	resets  atomic.Int64
	policy  string // "": operatedPolicy
	hasher  limiter.Hasher
	wanted  limiter.Key // the only key that it answers for
}

// member is what Members tells of one.
type member struct {
	peer.NodeStatus
	err error
}

func (o *operated) Members(context.Context) iter.Seq2[peer.NodeStatus, error] {
	if times := o.asked.Add(1); o.onAsked != nil {
		o.onAsked(times)
	}
	return func(yield func(peer.NodeStatus, error) bool) {
		for _, m := range o.members {
			if !yield(m.NodeStatus, m.err) {
				return
			}
		}
	}
}

func (o *operated) Inspect(_ context.Context, k limiter.Key, _ *limiter.Tier) (peer.KeyStatus, error) {
	if k != o.wanted {
		return peer.KeyStatus{}, errors.New("nobody holds the partition")
	}
	return o.key, nil
}

func (o *operated) Leases(context.Context, *limiter.Key, int) ([]peer.LeaseStatus, bool, error) {
	return nil, false, nil
}

func (o *operated) Reset(context.Context, limiter.Key) (bool, error) {
	o.resets.Add(1)
	return o.found, nil
}

// operatedKey is the key that an operated cluster answers for.
const operatedKey = "sk_live_abc"

var operatedPolicy = `
tiers:
  pro: {windows: [{limit: 10, per: 1s}, {limit: 60, per: 1m}], concurrent: 3}
  free: {windows: [{limit: 10, per: 1m}], concurrent: 0}
default_tier: free
keys: [{sha256: "` + policy.HashKey("sk_suspended") + `", tier: pro, status: suspended}]
`

// serve shows the cluster to operators and returns the address.
func (o *operated) serve(t *testing.T) string {
	t.Helper()
	secrets, err := limiter.NewSecrets([]byte("the secret of the cluster"))
	if err != nil {
		t.Fatal(err)
	}
	if o.policy == "" {
		o.policy = operatedPolicy
	}
	tiers, err := policy.Parse([]byte(o.policy))
	if err != nil {
		t.Fatal(err)
	}
	o.hasher = limiter.NewHasher(secrets, 1021)
	o.wanted = o.hasher.Key(operatedKey)
	s := admin.NewServer(admin.Config{
		Node: "node-a", Partitions: 1021, Cluster: o, Hasher: o.hasher, Policy: tiers, Log: slog.New(slog.DiscardHandler),
	})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}
