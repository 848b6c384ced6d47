package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
)

const (
	lower  = "tiers: {ten: {windows: [{limit: 10000000, per: 10m}], concurrent: 3}}"
	higher = "tiers: {ten: {windows: [{limit: 20000000, per: 10m}], concurrent: 5}}"
)

func parsed(t *testing.T, file string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// underLoad changes the policy again and again while keys are asked for, and holds that no call
// fails, that each goes by one of the two policies, and that all is counted.
func underLoad(t *testing.T, times int, nodes []*member, set func(i int)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	over, answered := make(chan struct{}), make(chan struct{}, 1)
	var callers, begun sync.WaitGroup
	asked := make([]int, 2*len(nodes))
	for w := range asked {
		begun.Add(1)
		callers.Go(func() {
			first := sync.OnceFunc(begun.Done)
			defer first()
			c := nodes[w%len(nodes)].rpc
			for {
				select {
				case <-over:
					return
				default:
				}
				batch := &sluicev1.CheckBatchRequest{Checks: []*sluicev1.CheckRequest{{Key: key(w), Tier: "ten"}, {Key: key(w), Tier: "ten"}}}
				resp, err := c.CheckBatch(ctx, batch)
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				for _, r := range resp.Results {
					asked[w]++
					d := r.GetDecision()
					if limit := d.GetLimit(); !d.GetAllowed() || limit != 10000000 && limit != 20000000 || int(limit-d.GetRemaining()) != asked[w] {
						t.Errorf("call %d of %s: %v", asked[w], key(w), r)
						return
					}
				}
				first()
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}
	begun.Wait()
	for i := range times {
		set(i)
		select {
		case <-answered:
		case <-ctx.Done():
			t.Fatal("nobody is answered")
		}
	}
	close(over)
	callers.Wait()
}

func TestAThousandPoliciesUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, lower)
	// In no cluster: one that shares keys refuses calls while the machine does not let it run.
	a := newNodes(t).launch("a", func(c *server.Config) { c.PolicyFile, c.Cluster = path, nil })
	underLoad(t, 1000, []*member{a}, func(i int) {
		write(t, path, []string{higher, lower}[i%2])
		a.ReloadPolicy()
	})
}

func TestPoliciesChangeUnderLoadInACluster(t *testing.T) {
	c := newNodes(t)
	start := func(c *server.Config) { c.Policy = parsed(t, lower) }
	for _, name := range []string{"a", "b", "c"} {
		c.launch(name, start)
	}
	c.settle()
	of := []*member{c.by["a"], c.by["b"], c.by["c"]}
	policies := []*policy.Policy{parsed(t, higher), parsed(t, lower)}
	underLoad(t, 102, of, func(i int) { of[i%3].SetPolicy(policies[i/3%2]) })
	of[0].SetPolicy(policies[0])
	for i, m := range of {
		want := policies[min(i, 1)].Fingerprint()
		if got := m.Cluster().Status().Policy; got != want {
			t.Errorf("node %d tells policy %s, want %s", i, got, want)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Error(err)
	}
}

// A ConfigMap's file is a link to ..data/file, and ..data a link to a folder, which is exchanged.
func TestAPolicyBehindLinksIsFollowed(t *testing.T) {
	dir := t.TempDir()
	version := func(i int, content string) {
		folder := filepath.Join(dir, fmt.Sprintf("..version%d", i))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "policy.yaml"), content)
		if err := os.Symlink(filepath.Base(folder), filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version(1, lower)
	path := filepath.Join(dir, "policy.yaml")
	if err := os.Symlink("..data/policy.yaml", path); err != nil {
		t.Fatal(err)
	}
	var log logText
	c := newNodes(t)
	a := c.start("a", func(c *server.Config) { c.PolicyFile, c.Log = path, log.logger() })
	a.check(t, "k")
	version(2, "tiers: {ten: {windows: [{limit: 0}]}}")
	c.eventually(10*time.Second, "a bad file is refused", func() bool { return strings.Contains(log.String(), "the old policy stays") })
	if d := a.check(t, "k"); d.Limit != 10000000 || d.Remaining != 9999998 {
		t.Errorf("after a bad file: %v", d)
	}
	version(3, higher)
	c.eventually(10*time.Second, "the policy changes", func() bool { return strings.Contains(log.String(), "the policy has changed") })
	if d := a.check(t, "k"); d.Limit != 20000000 || d.Remaining != 19999997 {
		t.Errorf("after a good one: %v", d)
	}
}

const single = `
tiers: {ten: {windows: [{limit: 10, per: 10m}], concurrent: 1}, gone: {windows: [{limit: 5, per: 10m}], concurrent: 1}}
default_tier: ten
keys: [{sha256: %s, windows: [{limit: 3, per: 10m}], concurrent: 2}]
`

// Whichever node is asked, a key has the limits that are its own.
func TestAKeysOwnLimitsHoldInACluster(t *testing.T) {
	c := newNodes(t)
	for _, name := range []string{"a", "b", "c"} {
		c.launch(name, func(c *server.Config) { c.Policy = parsed(t, fmt.Sprintf(single, policy.HashKey("special"))) })
	}
	c.settle()
	for i := range 6 {
		if d := c.any(i).check(t, "special"); d.Limit != 3 || d.Allowed != (i < 3) {
			t.Errorf("call %d: %v", i, d)
		}
	}
	for i := range 3 {
		g, err := c.any(i).rpc.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: "special", RunId: key(i), TtlMs: 60_000})
		if err != nil || g.Limit != 2 || g.Granted != (i < 2) {
			t.Errorf("run %d: %v, %v", i, g, err)
		}
	}
}

// A tier that has gone lets its leases be renewed and released, and is unknown to new calls.
func TestLeasesOutliveTheirTier(t *testing.T) {
	c := newNodes(t)
	a := c.start("a", func(c *server.Config) { c.Policy = parsed(t, fmt.Sprintf(single, policy.HashKey("special"))) })
	acquire := &sluicev1.AcquireRequest{Key: "k", Tier: "gone", RunId: "r", TtlMs: 60_000}
	g, err := a.rpc.Acquire(t.Context(), acquire)
	if err != nil || !g.Granted {
		t.Fatalf("%v, %v", g, err)
	}
	a.SetPolicy(parsed(t, clusterPolicy))
	if _, err := a.rpc.Acquire(t.Context(), acquire); err == nil || !strings.Contains(err.Error(), "no such tier") {
		t.Errorf("a tier that has gone: %v", err)
	}
	renewed, err := a.rpc.Renew(t.Context(), &sluicev1.RenewRequest{Leases: []*sluicev1.LeaseRenewal{{LeaseId: g.LeaseId, TtlMs: 60_000}}})
	if err != nil || renewed.Results[0].GetExpiresInMs() == 0 {
		t.Errorf("renew: %v, %v", renewed, err)
	}
	if resp, err := a.rpc.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: g.LeaseId}); err != nil || !resp.Released {
		t.Errorf("release: %v, %v", resp, err)
	}
}

// A shadow tier denies nothing, wherever its keys are decided, and takes no more than its limit.
func TestAShadowTierDeniesNothing(t *testing.T) {
	c := newNodes(t)
	file := strings.Replace(clusterPolicy, "concurrent: 3", "concurrent: 1, shadow: true", 1)
	for _, name := range []string{"a", "b", "c"} {
		c.launch(name, func(c *server.Config) { c.Policy = parsed(t, file) })
	}
	c.settle()
	for i := range 30 {
		d := c.any(i).check(t, "k")
		if left := uint32(max(0, 9-i)); !d.Allowed || d.Remaining != left || d.RetryAfterMs != nil || left == 0 && d.ResetAfterMs != 0 {
			t.Errorf("call %d: %v", i, d)
		}
	}
	cost := uint32(1)
	for i := range 3 {
		g, err := c.any(i).rpc.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: "k", Tier: "ten", RunId: key(i), TtlMs: 60_000, RequestCost: &cost})
		if err != nil || !g.Granted || g.Reason != 0 || g.LeaseId == "" || g.RetryAfterMs != nil || g.InUse != uint32(i+1) || !g.Decision.GetAllowed() {
			t.Errorf("run %d: %v, %v", i, g, err)
		}
	}
	for _, m := range c.by {
		m.SetPolicy(parsed(t, strings.Replace(clusterPolicy, "limit: 10", "limit: 11", 1)))
	}
	if d := c.any(0).check(t, "k"); !d.Allowed || d.Remaining != 0 {
		t.Errorf("with one more: %v, want the last one", d)
	}
	if d := c.any(1).check(t, "k"); d.Allowed {
		t.Errorf("when it is no shadow any more: %v", d)
	}
}

// logText is a log that may be read while it is written.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// While policies differ a tier that the holder of a key lacks is an error that a retry may help,
// and no count is lost; a variant that it lacks is decided by the tier.
func TestATierThatTheHolderLacks(t *testing.T) {
	c := newNodes(t)
	c.launch("a", func(c *server.Config) { c.Policy = parsed(t, fmt.Sprintf(single, policy.HashKey(key(0)))) })
	c.launch("b")
	c.settle()
	a, unknown, decided := c.by["a"].rpc, 0, 0
	for i := range 40 {
		resp, err := a.Check(t.Context(), &sluicev1.CheckRequest{Key: key(i), Tier: "gone"})
		switch {
		case i == 0: // it has limits of its own: here those, and there the tier's
			if limit := resp.GetDecision().GetLimit(); limit != 3 && limit != 10 {
				t.Errorf("%v, %v", resp, err)
			}
		case err == nil && resp.Decision.Limit == 5:
			decided++
		case status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "has no such tier"):
			unknown++
		default:
			t.Errorf("%v, %v", resp, err)
		}
	}
	if unknown == 0 || decided == 0 {
		t.Errorf("%d were decided, %d not, want some of each", decided, unknown)
	}
}
