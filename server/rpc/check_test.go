package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// TestCheckIsTheEngine sends a random history of calls to the server, and the same to an
// engine of the test's own: both say the same, in every field.
func TestCheckIsTheEngine(t *testing.T) {
	r := serve(t, small)
	engine, err := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	tiers := parsePolicy(t, small)
	hasher := r.server.service.hasher
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		r.clock.add(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
		req := &sluicev1.CheckRequest{Key: fmt.Sprint("k", rnd.IntN(3)), Tier: []string{"", "small", "two"}[rnd.IntN(3)], Explain: rnd.IntN(2) == 0}
		cost := limiter.Cost(1)
		if rnd.IntN(2) == 0 {
			cost = limiter.Cost(rnd.IntN(7))
			req.Cost = proto.Uint32(uint32(cost))
		}
		resolved, err := tiers.Resolve(req.GetKey(), req.GetTier())
		if err != nil {
			t.Fatal(err)
		}
		now, wall := r.clock.read()
		d, states := engine.Explain(hasher.Key(req.GetKey()), resolved.Tier, cost, now)
		want := &sluicev1.Decision{
			Allowed: d.Allowed, Limit: d.Limit, Remaining: d.Remaining, Reason: sluicev1.Reason(d.Reason),
			ResetAfterMs: uint32(d.Reset.Milliseconds()), Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
			ResetUnix: (wall.Add(d.Reset).UnixNano() + 999_999_999) / 1e9,
		}
		if d.RetryAfter > 0 {
			want.RetryAfterMs = proto.Uint32(uint32(d.RetryAfter.Milliseconds()))
		}
		for i, s := range states {
			if !req.GetExplain() {
				break
			}
			want.Windows = append(want.Windows, &sluicev1.WindowState{
				Limit: s.Limit, PerMs: uint32(s.Per.Milliseconds()), Used: s.Used, Remaining: s.Remaining,
				ResetAfterMs: uint32(s.Reset.Milliseconds()),
			})
			if s.RetryAfter > 0 {
				want.Windows[i].RetryAfterMs = proto.Uint32(uint32(s.RetryAfter.Milliseconds()))
			}
		}
		if got := r.check(t, req); !proto.Equal(got, want) {
			t.Fatalf("%v at %v:\n got %v\nwant %v", req, now, got, want)
		}
	}
}

func TestDenied(t *testing.T) {
	r := serve(t, small)
	for i := range uint32(3) {
		d := r.check(t, &sluicev1.CheckRequest{Key: "k"})
		if !d.GetAllowed() || d.GetRemaining() != 2-i || d.GetLimit() != 3 || d.RetryAfterMs != nil {
			t.Fatalf("call %d: %v", i, d)
		}
		r.clock.add(time.Second)
	}
	for range 3 { // a denial, and a peek, change nothing
		for _, cost := range []*uint32{nil, proto.Uint32(0)} {
			d := r.check(t, &sluicev1.CheckRequest{Key: "k", Cost: cost})
			want := &sluicev1.Decision{
				Limit: 3, RetryAfterMs: proto.Uint32(57_000), ResetAfterMs: 57_000, ResetUnix: start.Unix() + 61,
				Reason: sluicev1.Reason_REASON_RATE_LIMITED, Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
			}
			if !proto.Equal(d, want) {
				t.Fatalf("got %v, want %v", d, want)
			}
		}
	}
	r.clock.add(57*time.Second - time.Millisecond)
	if d := r.check(t, &sluicev1.CheckRequest{Key: "k"}); d.GetAllowed() || d.GetRetryAfterMs() != 1 {
		t.Errorf("a millisecond early: %v", d)
	}
	r.clock.add(time.Millisecond)
	if d := r.check(t, &sluicev1.CheckRequest{Key: "k"}); !d.GetAllowed() {
		t.Errorf("after the wait: %v", d)
	}
}

func TestCostAboveLimit(t *testing.T) {
	r := serve(t, small)
	for _, cost := range []uint32{4, 1_000_000_000} {
		d := r.check(t, &sluicev1.CheckRequest{Key: "k", Cost: proto.Uint32(cost)})
		if d.GetAllowed() || d.GetReason() != sluicev1.Reason_REASON_COST_EXCEEDS_LIMIT || d.RetryAfterMs != nil || d.GetRemaining() != 3 {
			t.Errorf("cost %d: %v", cost, d)
		}
	}
	r.untouched(t)
}

// TestExplain reads both windows of a tier by hand.
func TestExplain(t *testing.T) {
	r := serve(t, small)
	r.check(t, &sluicev1.CheckRequest{Key: "k", Tier: "two", Cost: proto.Uint32(4)})
	r.clock.add(time.Second)
	d := r.check(t, &sluicev1.CheckRequest{Key: "k", Tier: "two", Cost: proto.Uint32(5), Explain: true})
	want := &sluicev1.Decision{
		Limit: 8, Remaining: 4, Reason: sluicev1.Reason_REASON_RATE_LIMITED, Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
		RetryAfterMs: proto.Uint32(9000), ResetAfterMs: 9000, ResetUnix: start.Unix() + 11,
		Windows: []*sluicev1.WindowState{
			{Limit: 5, PerMs: 1000, Remaining: 5},
			{Limit: 8, PerMs: 10_000, Used: 4, Remaining: 4, ResetAfterMs: 9000, RetryAfterMs: proto.Uint32(9000)},
		},
	}
	if !proto.Equal(d, want) {
		t.Errorf("got  %v\nwant %v", d, want)
	}
}

func directory(require bool) string {
	return small + fmt.Sprintf(`
keys:
  - {sha256: "%s", tier: two, status: active}
  - {sha256: "%s", tier: two, status: suspended}
  - {sha256: "%s", tier: small, status: revoked}
require_known_keys: %t
`, policy.HashKey("active"), policy.HashKey("suspended"), policy.HashKey("revoked"), require)
}

func TestDirectory(t *testing.T) {
	r := serve(t, directory(true))
	for _, test := range []struct {
		key    string
		reason sluicev1.Reason
		limit  uint32
		runs   uint32
	}{
		{"suspended", sluicev1.Reason_REASON_KEY_SUSPENDED, 5, 2},
		{"revoked", sluicev1.Reason_REASON_KEY_REVOKED, 3, 1},
		{"made-up", sluicev1.Reason_REASON_KEY_UNKNOWN, 0, 0},
	} {
		d := r.check(t, &sluicev1.CheckRequest{Key: test.key, Tier: "none"})
		want := &sluicev1.Decision{Limit: test.limit, Reason: test.reason, Exactness: sluicev1.Exactness_EXACTNESS_EXACT, ResetUnix: start.Unix() + 1}
		if !proto.Equal(d, want) {
			t.Errorf("%s: got %v, want %v", test.key, d, want)
		}
		g := r.acquire(t, &sluicev1.AcquireRequest{Key: test.key, RunId: "r", TtlMs: 1000, RequestCost: proto.Uint32(1)})
		wantGrant := &sluicev1.AcquireResponse{Limit: test.runs, Reason: test.reason, Exactness: sluicev1.Exactness_EXACTNESS_EXACT, Decision: want}
		if !proto.Equal(g, wantGrant) {
			t.Errorf("%s: got %v, want %v", test.key, g, wantGrant)
		}
	}
	if n := r.table.Keys(); n != 0 {
		t.Errorf("refused keys fill the table with %d", n)
	}
	if d := r.check(t, &sluicev1.CheckRequest{Key: "active", Tier: "small"}); !d.GetAllowed() || d.GetLimit() != 5 {
		t.Errorf("a listed key has %v, want the directory's tier", d)
	}
}

func TestDirectoryThatRequiresNothing(t *testing.T) {
	r := serve(t, directory(false))
	if d := r.check(t, &sluicev1.CheckRequest{Key: "made-up", Tier: "two"}); !d.GetAllowed() || d.GetLimit() != 5 {
		t.Errorf("a key that is not listed: %v, want the call's tier", d)
	}
}

func TestNoDefaultTier(t *testing.T) {
	r := serve(t, "tiers: {a: {windows: [{limit: 3, per: 1m}]}, b: {windows: [{limit: 3, per: 1m}]}}")
	_, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "k"})
	missing("/tier", "tier").check(t, err)
}

func TestTableFull(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprint("open ", open), func(t *testing.T) {
			c := limiter.Config{MaxKeys: 1}
			if open {
				c.WhenFull = limiter.Open
			}
			r := serveTable(t, small, c)
			r.check(t, &sluicev1.CheckRequest{Key: "first"})
			for range 5 {
				d := r.check(t, &sluicev1.CheckRequest{Key: "second"})
				if d.GetExactness() != sluicev1.Exactness_EXACTNESS_DEGRADED || d.GetAllowed() != open || d.RetryAfterMs != nil {
					t.Fatalf("a new key: %v", d)
				}
				if full := d.GetReason() == sluicev1.Reason_REASON_TABLE_FULL; full == open {
					t.Fatalf("a new key: %v", d)
				}
			}
			g := r.acquire(t, &sluicev1.AcquireRequest{Key: "second", RunId: "r", TtlMs: 1000})
			if g.GetGranted() || g.GetReason() != sluicev1.Reason_REASON_TABLE_FULL || g.GetExactness() != sluicev1.Exactness_EXACTNESS_DEGRADED {
				t.Errorf("a run of a new key: %v", g)
			}
			if d := r.check(t, &sluicev1.CheckRequest{Key: "first"}); !d.GetAllowed() || d.GetRemaining() != 1 {
				t.Errorf("the live key: %v", d)
			}
		})
	}
}

// TestBatch has the same key several times, a bad item among good ones, and a peek.
func TestBatch(t *testing.T) {
	r := serve(t, small)
	resp, err := r.CheckBatch(t.Context(), &sluicev1.CheckBatchRequest{Checks: batchOfEight})
	if err != nil {
		t.Fatal(err)
	}
	checkEight(t, resp.GetResults())
	if empty, err := r.CheckBatch(t.Context(), &sluicev1.CheckBatchRequest{}); err != nil || len(empty.GetResults()) != 0 {
		t.Errorf("an empty batch: %v, %v", empty, err)
	}
}

var batchOfEight = []*sluicev1.CheckRequest{
	{Key: "a"}, {Key: "b", Cost: proto.Uint32(3)}, {Key: "a"}, {}, {Key: "a", Cost: proto.Uint32(0)},
	{Key: "c", Tier: "gold"}, {Key: "a", Explain: true}, {Key: "a"},
}

func checkEight(t *testing.T, results []*sluicev1.CheckResult) {
	t.Helper()
	if len(results) != 8 {
		t.Fatalf("%d results, want 8", len(results))
	}
	for i, remaining := range map[int]uint32{0: 2, 1: 0, 2: 1, 4: 1, 6: 0} {
		if d := results[i].GetDecision(); !d.GetAllowed() || d.GetRemaining() != remaining {
			t.Errorf("result %d: %v, want %d remaining", i, d, remaining)
		}
	}
	if n := len(results[6].GetDecision().GetWindows()); n != 1 {
		t.Errorf("result 6 explains %d windows", n)
	}
	if d := results[7].GetDecision(); d.GetReason() != sluicev1.Reason_REASON_RATE_LIMITED || d.GetRetryAfterMs() != 60_000 {
		t.Errorf("result 7: %v", d)
	}
	missing("/checks/3/key", "checks[3].key").check(t, status.FromProto(results[3].GetError()).Err())
	missing("/checks/5/tier", "checks[5].tier").check(t, status.FromProto(results[5].GetError()).Err())
}

// TestLargestBatch has as many checks as there may be.
func TestLargestBatch(t *testing.T) {
	r := serve(t, small)
	req := &sluicev1.CheckBatchRequest{Checks: make([]*sluicev1.CheckRequest, maxBatch)}
	for i := range req.Checks {
		req.Checks[i] = &sluicev1.CheckRequest{Key: "k"}
	}
	var resp sluicev1.CheckBatchResponse
	out, err := r.send(t, "CheckBatch", wire(t, req), grpcMaxReceive)
	if err == nil {
		err = proto.Unmarshal(out, &resp)
	}
	if err != nil || len(resp.GetResults()) != maxBatch {
		t.Fatalf("%d results, %v", len(resp.GetResults()), err)
	}
	for i, result := range resp.GetResults() {
		if allowed := result.GetDecision().GetAllowed(); allowed != (i < 3) {
			t.Fatalf("result %d: %v", i, result)
		}
	}
}

// TestCallThatEnded holds that a call whose caller is gone is not decided.
func TestCallThatEnded(t *testing.T) {
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 10})
	s := newService(&c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for method, req := range map[string]proto.Message{
		"Check":      &sluicev1.CheckRequest{Key: "k"},
		"CheckBatch": &sluicev1.CheckBatchRequest{Checks: batchOfEight},
		"Acquire":    &sluicev1.AcquireRequest{Key: "k", RunId: "r", TtlMs: 1000},
	} {
		_, err := invoke(ctx, s, method, wire(t, req))
		notNow.check(t, err)
	}
	if n := r.table.Keys(); n != 0 {
		t.Errorf("the table holds %d keys", n)
	}
}
