package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/cluster/gossip/gossiptest"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/rpc"
)

const clusterPolicy = `
tiers:
  ten: {windows: [{limit: 10, per: 10m}], concurrent: 3}
`

// nodes is a cluster in this process, over loopback.
type nodes struct {
	t     *testing.T
	seeds []string
	min   int
	by    map[string]*member
}

type member struct {
	*server.Node
	conn *grpc.ClientConn
	rpc  sluicev1.RateLimiterServiceClient
}

func newNodes(t *testing.T) *nodes {
	ignore := goleak.IgnoreCurrent()
	c := &nodes{t: t, by: make(map[string]*member)}
	t.Cleanup(func() {
		var all sync.WaitGroup
		for name := range c.by {
			m := c.by[name]
			all.Go(func() { m.end(t) })
		}
		all.Wait()
		if err := gossiptest.Ended(ignore); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (m *member) end(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	m.conn.Close()
}

// start starts a node that joins the others, and waits until the cluster has settled.
func (c *nodes) start(name string, change ...func(*server.Config)) *member {
	c.t.Helper()
	m := c.launch(name, change...)
	c.settle()
	return m
}

// launch starts a node that joins the others.
func (c *nodes) launch(name string, change ...func(*server.Config)) *member {
	c.t.Helper()
	p, err := policy.Parse([]byte(clusterPolicy))
	if err != nil {
		c.t.Fatal(err)
	}
	config := server.Config{
		GRPC: "127.0.0.1:0", Policy: p, Secret: []byte("the secret of these tests"), MaxKeys: 100_000, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Cluster: &cluster.Config{Name: name, Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", Join: c.seeds, MinMembers: c.min},
	}
	for _, f := range change {
		f(&config)
	}
	node, err := server.Start(config)
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := grpc.NewClient(node.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.t.Fatal(err)
	}
	m := &member{node, conn, sluicev1.NewRateLimiterServiceClient(conn)}
	c.by[name] = m
	if node.Cluster() != nil {
		c.seeds = append(c.seeds, node.Cluster().GossipAddr())
	}
	return m
}

// stop shuts a node down in good order.
func (c *nodes) stop(name string) {
	c.t.Helper()
	m := c.by[name]
	delete(c.by, name)
	m.end(c.t)
	c.settle()
}

// settle waits until all nodes agree, and all partitions are with their owners, and copied.
func (c *nodes) settle() {
	c.t.Helper()
	c.eventually(15*time.Second, "the cluster settles", func() bool {
		views, held := make(map[uint64]bool), 0
		for _, m := range c.by {
			s := m.Cluster().Status()
			views[s.View] = true
			held += s.Held
			if s.Members != len(c.by) || s.Held != s.Owned || s.Waiting > 0 || s.Unsent > 0 || len(c.by) > 1 && s.Uncopied > 0 || s.State != peer.Serving {
				return false
			}
		}
		return len(views) == 1 && held == server.Partitions
	})
}

func (c *nodes) eventually(within time.Duration, what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(within); !holds(); {
		if time.Now().After(end) {
			for name, m := range c.by {
				c.t.Logf("%s: %+v", name, m.Cluster().Status())
			}
			c.t.Fatalf("within %v it did not come to pass that %s", within, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// any returns the nodes in the order of their names.
func (c *nodes) any(i int) *member {
	var names []string
	for name := range c.by {
		names = append(names, name)
	}
	slices.Sort(names)
	return c.by[names[i%len(names)]]
}

func (m *member) check(t *testing.T, key string) *sluicev1.Decision {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := m.rpc.Check(ctx, &sluicev1.CheckRequest{Key: key, Tier: "ten"})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return resp.Decision
}

func key(i int) string { return fmt.Sprintf("key-%04d", i) }

// Whichever node is asked, and whatever nodes come and go: a key has its limit, neither more
// nor less.
func TestCountsAreKeptAsNodesComeAndGo(t *testing.T) {
	c := newNodes(t)
	const keys = 300
	used := 0
	hit := func(when string) {
		t.Helper()
		used++
		for i := range keys {
			d := c.any(i+used).check(t, key(i))
			if !d.Allowed || int(d.Remaining) != 10-used || d.Exactness != sluicev1.Exactness_EXACTNESS_EXACT {
				t.Fatalf("%s: %s: allowed %v, remaining %d, %v; want %d left", when, key(i), d.Allowed, d.Remaining, d.Exactness, 10-used)
			}
		}
	}
	c.start("a")
	hit("alone")
	c.start("b")
	hit("after a join")
	c.start("c")
	hit("after another join")
	c.stop("a")
	hit("after the first has left")
	c.start("a")
	hit("after it came back")
	c.start("d")
	hit("with four")
	c.stop("b")
	c.stop("c")
	hit("with two")
	c.stop("d")
	hit("alone again")
	for range 2 {
		hit("at the end")
	}
	for i := range keys {
		if d := c.any(0).check(t, key(i)); d.Allowed || d.Reason != sluicev1.Reason_REASON_RATE_LIMITED {
			t.Fatalf("%s: the eleventh passed", key(i))
		}
	}
}

// A batch is split by who decides, and its results are in its order.
func TestBatchOverTheCluster(t *testing.T) {
	c := newNodes(t)
	c.start("a")
	c.start("b")
	req := new(sluicev1.CheckBatchRequest)
	for i := range 500 {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: key(i), Tier: "ten", Cost: new(uint32(i%10 + 1)), Explain: i%2 == 0})
	}
	req.Checks[77].Tier = "none such"
	resp, err := c.any(0).rpc.CheckBatch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range resp.Results {
		if i == 77 {
			if codes.Code(r.GetError().GetCode()) != codes.InvalidArgument {
				t.Errorf("an unknown tier: %v", r)
			}
			continue
		}
		if d := r.GetDecision(); !d.GetAllowed() || int(d.Remaining) != 10-(i%10+1) || (len(d.Windows) == 1) != (i%2 == 0) {
			t.Fatalf("result %d: %v", i, r)
		}
	}
}

// Leases move with their partition, can be renewed and released at any node, and stay
// released.
func TestLeasesAreKeptAsNodesComeAndGo(t *testing.T) {
	c := newNodes(t)
	c.start("a")
	c.start("b")
	const keys = 60
	ids := make(map[string]string)
	acquire := func(i int, run string) *sluicev1.AcquireResponse {
		t.Helper()
		resp, err := c.any(i).rpc.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: key(i), Tier: "ten", RunId: run, TtlMs: 60_000})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for i := range keys {
		for _, run := range []string{"one", "two"} {
			resp := acquire(i, run)
			if !resp.Granted {
				t.Fatalf("%s of %s: %v", run, key(i), resp)
			}
			ids[key(i)+run] = resp.LeaseId
		}
	}
	release := func(i int, run string) bool {
		t.Helper()
		resp, err := c.any(i+1).rpc.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: ids[key(i)+run]})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Released
	}
	for i := range keys {
		if !release(i, "two") {
			t.Fatalf("%s: two was not held", key(i))
		}
	}
	c.start("c")
	c.stop("a")
	for i := range keys {
		if release(i, "two") {
			t.Fatalf("%s: two was released twice", key(i))
		}
		again := acquire(i, "one")
		if again.LeaseId != ids[key(i)+"one"] || again.InUse != 1 {
			t.Fatalf("%s: the lease of one is another now, with %d in use", key(i), again.InUse)
		}
		renewed, err := c.any(i).rpc.Renew(t.Context(), &sluicev1.RenewRequest{Leases: []*sluicev1.LeaseRenewal{
			{LeaseId: ids[key(i)+"one"], TtlMs: 30_000}, {LeaseId: ids[key(i)+"two"], TtlMs: 30_000},
		}})
		if err != nil || renewed.Results[0].GetExpiresInMs() < 30_000 || codes.Code(renewed.Results[1].GetError().GetCode()) != codes.FailedPrecondition {
			t.Fatalf("%s: %v %v", key(i), renewed, err)
		}
		if !release(i, "one") {
			t.Fatalf("%s: one was not held", key(i))
		}
		if last := acquire(i, "three"); last.InUse != 1 {
			t.Fatalf("%s: %d in use, of one that is held", key(i), last.InUse)
		}
	}
}

// A node whose wall clock is wrong shows it in the dates of its answers, and nowhere else.
func TestWallClocksDoNotMatter(t *testing.T) {
	c := newNodes(t)
	off := func(wrong func(time.Time) time.Time) func(*server.Config) {
		return func(config *server.Config) {
			right := rpc.NewClock()
			config.Clock = func() (limiter.Instant, time.Time) {
				now, wall := right()
				return now, wrong(wall)
			}
		}
	}
	calls := 0
	var mu sync.Mutex
	c.start("a")
	c.start("ahead", off(func(wall time.Time) time.Time { return wall.Add(time.Hour) }))
	c.start("back", off(func(wall time.Time) time.Time {
		mu.Lock()
		defer mu.Unlock()
		calls++
		return wall.Add(-time.Duration(calls) * time.Minute)
	}))
	for n := 1; n <= 10; n++ {
		for i := range 50 {
			d := c.any(i+n).check(t, key(i))
			if !d.Allowed || int(d.Remaining) != 10-n || d.ResetAfterMs < 590_000 || d.ResetAfterMs > 600_000 {
				t.Fatalf("%s: %v", key(i), d)
			}
		}
		if n == 5 {
			c.stop("ahead")
		}
	}
}

// With fewer members in sight than it is to have, a node refuses.
func TestTooFewMembers(t *testing.T) {
	c := newNodes(t)
	c.min = 2
	m := c.launch("a")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := m.rpc.Check(ctx, &sluicev1.CheckRequest{Key: "k", Tier: "ten"}); status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("alone: %v", err)
	}
	c.start("b")
	if d := m.check(t, "k"); !d.Allowed || d.Remaining != 9 {
		t.Errorf("with two: %v", d)
	}
}

// Where the limit matters more than answers, who is told that a request may pass can rely on
// it: the copy has it by then, so that no crash and no split forgets it.
func TestAllowedIsCopiedBeforeItIsTold(t *testing.T) {
	c := newNodes(t)
	c.min = 2
	c.launch("a")
	c.launch("b")
	c.start("c")
	secrets, err := limiter.NewSecrets([]byte("the secret of these tests"))
	if err != nil {
		t.Fatal(err)
	}
	hasher := limiter.NewHasher(secrets, server.Partitions)
	for i := range 60 {
		asked := c.any(i)
		d := asked.check(t, key(i%20))
		if used := 10 - d.Remaining; !d.Allowed || used != uint32(i/20+1) {
			t.Fatalf("%s: %v", key(i%20), d)
		}
		k := hasher.Key(key(i % 20))
		s, err := asked.Cluster().Inspect(t.Context(), k, nil)
		if err != nil || len(s.Copies) != 1 {
			t.Fatalf("%v, %v", s, err)
		}
		units := 0
		state, _ := c.by[s.Copies[0]].Cluster().Table().Inspect(k, 0)
		for _, e := range state.History {
			units += int(e.Units)
		}
		if units != i/20+1 {
			t.Errorf("%s was allowed %d times, and its copy at %s has %d", key(i%20), i/20+1, s.Copies[0], units)
		}
	}
}

// Who does not share the secret is not let in.
func TestAnotherSecretIsRefused(t *testing.T) {
	c := newNodes(t)
	a := c.start("a")
	p, _ := policy.Parse([]byte(clusterPolicy))
	node, err := server.Start(server.Config{
		GRPC: "127.0.0.1:0", Policy: p, Secret: []byte("quite another secret"), MaxKeys: 1000, Log: slog.New(slog.DiscardHandler),
		Cluster: &cluster.Config{Name: "b", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", Join: c.seeds, BootstrapAfter: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Cluster().AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := node.Cluster().Status(); s.Members != 1 {
		t.Errorf("the stranger sees %d members", s.Members)
	}
	if s := a.Cluster().Status(); s.Members != 1 {
		t.Errorf("the member sees %d members", s.Members)
	}
	if err := node.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
