package rpc

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// acquire asks for a slot, and must not fail.
func (r *rig) acquire(t testing.TB, req *sluicev1.AcquireRequest) *sluicev1.AcquireResponse {
	t.Helper()
	resp, err := r.Acquire(t.Context(), req)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return resp
}

func (r *rig) release(t testing.TB, id string) bool {
	t.Helper()
	resp, err := r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: id})
	if err != nil {
		t.Fatalf("Release: %v", err)
	}
	return resp.GetReleased()
}

func run(id string) *sluicev1.AcquireRequest {
	return &sluicev1.AcquireRequest{Key: "k", RunId: id, TtlMs: 30_000}
}

func TestLease(t *testing.T) {
	r := serve(t, small)
	g := r.acquire(t, run("r1"))
	want := &sluicev1.AcquireResponse{
		Granted: true, LeaseId: g.GetLeaseId(), ExpiresInMs: 30_000, InUse: 1, Limit: 1, Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
	}
	if !proto.Equal(g, want) || len(g.GetLeaseId()) == 0 || len(g.GetLeaseId()) > 128 {
		t.Fatalf("granted %v, want %v", g, want)
	}

	r.clock.add(10 * time.Second)
	again := r.acquire(t, run("r1"))
	want.ExpiresInMs = 20_000
	if !proto.Equal(again, want) {
		t.Errorf("again %v, want %v", again, want)
	}

	denied := r.acquire(t, run("r2"))
	if denied.GetGranted() || denied.GetLeaseId() != "" || denied.GetReason() != sluicev1.Reason_REASON_CONCURRENCY_LIMITED ||
		denied.GetInUse() != 1 || denied.GetLimit() != 1 || denied.Decision != nil {
		t.Errorf("the slot is taken: %v", denied)
	}

	renewed, err := r.Renew(t.Context(), &sluicev1.RenewRequest{Leases: []*sluicev1.LeaseRenewal{{LeaseId: g.GetLeaseId(), TtlMs: 60_000}}})
	if err != nil || len(renewed.GetResults()) != 1 || renewed.GetResults()[0].GetExpiresInMs() != 60_000 {
		t.Fatalf("renewed: %v, %v", renewed, err)
	}
	r.clock.add(50 * time.Second) // it would have expired, but was renewed
	if !r.release(t, g.GetLeaseId()) {
		t.Error("not released")
	}
	for range 2 { // again frees nothing
		if r.release(t, g.GetLeaseId()) {
			t.Error("released again")
		}
		r.acquire(t, run("r2"))
	}
	if g := r.acquire(t, run("r3")); g.GetGranted() {
		t.Errorf("the slot of r2 was freed by r1: %v", g)
	}
}

// TestRenewOneByOne renews leases of every kind in one call.
func TestRenewOneByOne(t *testing.T) {
	r := serve(t, small)
	ids := make(map[string]string)
	for _, key := range []string{"live", "released", "expired"} {
		req := &sluicev1.AcquireRequest{Key: key, RunId: "r", TtlMs: 30_000}
		if key == "expired" {
			req.TtlMs = 1000
		}
		ids[key] = r.acquire(t, req).GetLeaseId()
	}
	r.release(t, ids["released"])
	r.clock.add(time.Second)
	resp, err := r.Renew(t.Context(), &sluicev1.RenewRequest{Leases: []*sluicev1.LeaseRenewal{
		{LeaseId: ids["released"], TtlMs: 5000},
		{LeaseId: ids["expired"], TtlMs: 5000},
		{LeaseId: "forged", TtlMs: 5000},
		{LeaseId: ids["live"], TtlMs: 999},
		{TtlMs: 5000},
		{LeaseId: ids["live"], TtlMs: 600_000},
		{LeaseId: ids["live"], TtlMs: 1000},
	}})
	results := resp.GetResults()
	if err != nil || len(results) != 7 {
		t.Fatalf("%v, %v", resp, err)
	}
	for i, want := range []fault{
		gone, gone, notFound, tooLarge("/leases/3/ttl_ms", "leases[3].ttl_ms"), missing("/leases/4/lease_id", "leases[4].lease_id"),
	} {
		want.check(t, status.FromProto(results[i].GetError()).Err())
	}
	for _, result := range results[5:] { // the second would shorten it, and does not
		if result.GetExpiresInMs() != 600_000 {
			t.Errorf("the live lease: %v", result)
		}
	}
}

func TestAcquireConflict(t *testing.T) {
	r := serve(t, small)
	req := run("r")
	req.TaskId = "task"
	first := r.acquire(t, req)
	for name, change := range map[string]func(*sluicev1.AcquireRequest){
		"tier":    func(a *sluicev1.AcquireRequest) { a.Tier = "two" },
		"task_id": func(a *sluicev1.AcquireRequest) { a.TaskId = "other" },
		"no task": func(a *sluicev1.AcquireRequest) { a.TaskId = "" },
	} {
		other := proto.CloneOf(req)
		other.RequestCost = proto.Uint32(1)
		change(other)
		_, err := r.Acquire(t.Context(), other)
		t.Run(name, func(t *testing.T) { conflict.check(t, err) })
	}
	if again := r.acquire(t, req); again.GetLeaseId() != first.GetLeaseId() {
		t.Errorf("the lease is another after a conflict: %v", again)
	}
	if d := r.check(t, &sluicev1.CheckRequest{Key: "k", Cost: proto.Uint32(0)}); d.GetRemaining() != 3 {
		t.Errorf("a conflict took units: %v", d)
	}
}

// TestLeaseKeepsItsWords holds that what a lease remembers of its call is still there when
// the call's own memory has been wiped.
func TestLeaseKeepsItsWords(t *testing.T) {
	c, _ := newConfig(t, small, limiter.Config{MaxKeys: 10})
	s := newService(&c)
	ask := func(task string) error {
		b := wire(t, &sluicev1.AcquireRequest{Key: "k", RunId: "run", TaskId: task, TtlMs: 30_000})
		_, err := invoke(t.Context(), s, "Acquire", b)
		for i, c := range b {
			if c != 0 {
				t.Fatalf("byte %d of the request is still there", i)
			}
		}
		return err
	}
	if err := ask("task of the run"); err != nil {
		t.Fatal(err)
	}
	if err := ask("task of the run"); err != nil {
		t.Errorf("the same task: %v", err)
	}
	conflict.check(t, ask("task of the sun"))
}

// TestRequestCost holds that a run takes its slot and its units, or neither.
func TestRequestCost(t *testing.T) {
	r := serve(t, small)
	withCost := func(id string, cost uint32) *sluicev1.AcquireRequest {
		req := run(id)
		req.RequestCost = proto.Uint32(cost)
		return req
	}
	remaining := func(want uint32) {
		t.Helper()
		if d := r.check(t, &sluicev1.CheckRequest{Key: "k", Cost: proto.Uint32(0)}); d.GetRemaining() != want {
			t.Fatalf("remaining %d, want %d", d.GetRemaining(), want)
		}
	}
	first := r.acquire(t, withCost("r1", 2))
	if d := first.GetDecision(); !first.GetGranted() || !d.GetAllowed() || d.GetRemaining() != 1 || d.GetLimit() != 3 {
		t.Fatalf("first: %v", first)
	}
	again := r.acquire(t, withCost("r1", 2))
	if again.GetLeaseId() != first.GetLeaseId() || !again.GetDecision().GetAllowed() {
		t.Errorf("again: %v", again)
	}
	remaining(1)

	noSlot := r.acquire(t, withCost("r2", 1))
	if noSlot.GetGranted() || noSlot.GetReason() != sluicev1.Reason_REASON_CONCURRENCY_LIMITED || noSlot.GetDecision().GetAllowed() {
		t.Errorf("no slot: %v", noSlot)
	}
	remaining(1)

	r.release(t, first.GetLeaseId())
	noUnits := r.acquire(t, withCost("r2", 2))
	if noUnits.GetGranted() || noUnits.GetInUse() != 0 || noUnits.GetReason() != sluicev1.Reason_REASON_RATE_LIMITED ||
		noUnits.GetRetryAfterMs() != 60_000 || noUnits.GetDecision().GetRetryAfterMs() != 60_000 {
		t.Errorf("no units: %v", noUnits)
	}
	never := r.acquire(t, withCost("r2", 4))
	if never.GetReason() != sluicev1.Reason_REASON_COST_EXCEEDS_LIMIT || never.RetryAfterMs != nil {
		t.Errorf("above the limit: %v", never)
	}
	remaining(1)

	peek := r.acquire(t, withCost("r2", 0))
	if !peek.GetGranted() || !peek.GetDecision().GetAllowed() {
		t.Errorf("cost 0 with room: %v", peek)
	}
	remaining(1)
	r.check(t, &sluicev1.CheckRequest{Key: "k"})
	r.release(t, peek.GetLeaseId())
	if peek := r.acquire(t, withCost("r3", 0)); peek.GetGranted() || peek.GetReason() != sluicev1.Reason_REASON_RATE_LIMITED {
		t.Errorf("cost 0 without room: %v", peek)
	}
	if g := r.acquire(t, run("r3")); !g.GetGranted() || g.Decision != nil {
		t.Errorf("no cost asks no window: %v", g)
	}
}

// TestReleaseAfterTheCaller holds that a slot is freed also when nobody waits for it.
func TestReleaseAfterTheCaller(t *testing.T) {
	c, _ := newConfig(t, small, limiter.Config{MaxKeys: 10})
	s := newService(&c)
	out, err := invoke(t.Context(), s, "Acquire", wire(t, run("r")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := out.(*sluicev1.AcquireResponse).GetLeaseId()
	out, err = invoke(ctx, s, "Release", wire(t, &sluicev1.ReleaseRequest{LeaseId: id}))
	if err != nil || !out.(*sluicev1.ReleaseResponse).GetReleased() {
		t.Fatalf("released: %v, %v", out, err)
	}
	out, err = invoke(t.Context(), s, "Acquire", wire(t, run("r2")))
	if err != nil || !out.(*sluicev1.AcquireResponse).GetGranted() {
		t.Errorf("the slot: %v, %v", out, err)
	}
}

func TestReleaseAfterExpiry(t *testing.T) {
	r := serve(t, small)
	first := r.acquire(t, run("r1"))
	r.clock.add(30 * time.Second)
	second := r.acquire(t, run("r2"))
	if !second.GetGranted() {
		t.Fatalf("the slot was not freed at its expiry: %v", second)
	}
	if r.release(t, first.GetLeaseId()) {
		t.Error("an expired lease was released")
	}
	if third := r.acquire(t, run("r3")); third.GetGranted() || third.GetInUse() != 1 {
		t.Errorf("the late release freed another's slot: %v", third)
	}
	// Nor does the lease of a run that was acquired anew.
	r.release(t, second.GetLeaseId())
	r.acquire(t, run("r1"))
	if r.release(t, first.GetLeaseId()) {
		t.Error("an old lease id released the run's new lease")
	}
}

// TestRunRetryAfter holds the hint of a denied run within its bounds.
func TestRunRetryAfter(t *testing.T) {
	for _, test := range []struct {
		ttl         uint32
		least, most uint32
	}{
		{60_000, 4000, 6000}, // the default hint, 20 % to either side
		{3000, 2400, 3600},   // a slot is free before
		{1000, 1000, 1200},   // never below a second
	} {
		r := serve(t, small)
		req := run("holder")
		req.TtlMs = test.ttl
		r.acquire(t, req)
		seen := make(map[uint32]bool)
		for i := range 200 {
			g := r.acquire(t, run(fmt.Sprint("r", i)))
			ms := g.GetRetryAfterMs()
			if g.GetGranted() || ms < test.least || ms > test.most {
				t.Fatalf("ttl %d: %v, want a retry after from %d to %d", test.ttl, g, test.least, test.most)
			}
			seen[ms] = true
		}
		if len(seen) < 20 {
			t.Errorf("ttl %d: only %d different hints", test.ttl, len(seen))
		}
	}
}

func TestTierWithoutRuns(t *testing.T) {
	r := serve(t, small)
	req := run("r")
	req.Tier = "none"
	if g := r.acquire(t, req); g.GetGranted() || g.GetLimit() != 0 || g.GetReason() != sluicev1.Reason_REASON_CONCURRENCY_LIMITED {
		t.Errorf("%v", g)
	}
}

// TestSlotsOverTheWire holds that never more runs are granted than there are slots, and
// that no slot is lost, with many clients at once.
func TestSlotsOverTheWire(t *testing.T) {
	r := serve(t, small)
	var wg sync.WaitGroup
	var mu sync.Mutex
	held, most := 0, 0
	for worker := range 8 {
		wg.Go(func() {
			for i := range 40 {
				req := run(fmt.Sprintf("%d-%d", worker, i))
				req.Tier = "two"
				g, err := r.Acquire(t.Context(), req)
				if err != nil {
					t.Error(err)
					return
				}
				if !g.GetGranted() {
					continue
				}
				mu.Lock()
				held++
				most = max(most, held)
				mu.Unlock()
				mu.Lock()
				held--
				mu.Unlock()
				if resp, err := r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: g.GetLeaseId()}); err != nil || !resp.GetReleased() {
					t.Errorf("Release: %v, %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d runs at a time, want at most 2", most)
	}
	for i := range 2 {
		req := run(fmt.Sprint("last", i))
		req.Tier = "two"
		if g := r.acquire(t, req); !g.GetGranted() {
			t.Errorf("a slot was lost: %v", g)
		}
	}
}
