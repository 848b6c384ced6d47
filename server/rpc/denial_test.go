package rpc

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// denied returns the log's lines of denials, without their time, and forgets what is in the log.
func (r *rig) denied(t testing.TB) (lines []string) {
	t.Helper()
	all := r.log.String()
	if strings.Contains(all, "secret-key") {
		t.Errorf("the log tells a key: %s", all)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.b.Reset()
	for line := range strings.Lines(all) {
		if _, what, ok := strings.Cut(strings.TrimSpace(line), "msg=denied "); ok {
			lines = append(lines, what)
		}
	}
	return lines
}

// expect requires that the log has these lines of denials, as regular expressions.
func (r *rig) expect(t testing.TB, want ...string) {
	t.Helper()
	got := r.denied(t)
	if len(got) != len(want) {
		t.Errorf("the log has %q, want %q", got, want)
		return
	}
	for i := range got {
		if !regexp.MustCompile("^" + want[i] + "$").MatchString(got[i]) {
			t.Errorf("the log has %q, want %q", got[i], want[i])
		}
	}
}

func TestDenialsAreLoggedOnceASecond(t *testing.T) {
	r := serve(t, small)
	r.clock.add(time.Hour)
	deny := func(times int, tier string) {
		for range times {
			if r.check(t, &sluicev1.CheckRequest{Key: "secret-key", Tier: tier, Cost: proto.Uint32(3)}).GetAllowed() {
				t.Error("it is allowed")
			}
		}
	}
	r.check(t, &sluicev1.CheckRequest{Key: "secret-key", Cost: proto.Uint32(3)})
	r.expect(t)
	deny(5, "")
	r.expect(t, "call=Check tier=small reason=REASON_RATE_LIMITED retry_after=1m0s denials=1")
	r.clock.add(time.Second - 1)
	deny(2, "")
	r.expect(t)
	r.clock.add(1)
	deny(1, "")
	r.expect(t, "call=Check tier=small reason=REASON_RATE_LIMITED retry_after=59s denials=7")
	r.clock.add(time.Second)
	r.expect(t)

	// Another reason has a line of its own, and so has another tier.
	if _, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "secret-key", Cost: proto.Uint32(4)}); err != nil {
		t.Fatal(err)
	}
	deny(1, "none")
	r.expect(t, "call=Check tier=small reason=REASON_COST_EXCEEDS_LIMIT denials=1", "call=Check tier=none reason=REASON_RATE_LIMITED retry_after=58s denials=1")
}

func TestDeniedRunsAreLoggedWithTheirIDs(t *testing.T) {
	r := serve(t, small)
	r.clock.add(time.Hour)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "req-1")
	for i := range 3 {
		req := &sluicev1.AcquireRequest{Key: "secret-key", RunId: fmt.Sprintf("run-%d", i), TaskId: "task-7", TtlMs: 60_000}
		if _, err := r.Acquire(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	r.expect(t, `call=Acquire tier=small reason=REASON_CONCURRENCY_LIMITED retry_after=\S+ request_id=req-1 run_id=run-1 task_id=task-7 denials=1`)
}

func TestDenialsOfBatchesAreLogged(t *testing.T) {
	r := serve(t, small)
	r.clock.add(time.Hour)
	batch := new(sluicev1.CheckBatchRequest)
	for range 10 {
		batch.Checks = append(batch.Checks, &sluicev1.CheckRequest{Key: "secret-key"})
	}
	for range 2 {
		if _, err := r.CheckBatch(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	r.expect(t, "call=CheckBatch tier=small reason=REASON_RATE_LIMITED retry_after=1m0s denials=1")
	r.clock.add(time.Second)
	r.check(t, &sluicev1.CheckRequest{Key: "secret-key"})
	r.expect(t, "call=Check tier=small reason=REASON_RATE_LIMITED retry_after=59s denials=17")
}

// What the log has told outlives a policy.
func TestANewPolicyTellsNoDenialAgain(t *testing.T) {
	r := serve(t, small)
	r.clock.add(time.Hour)
	deny := func() { r.check(t, &sluicev1.CheckRequest{Key: "secret-key", Cost: proto.Uint32(1000)}) }
	deny()
	r.expect(t, "call=Check tier=small reason=REASON_COST_EXCEEDS_LIMIT denials=1")
	r.server.SetPolicy(parsePolicy(t, small))
	deny()
	r.expect(t)
	r.server.SetPolicy(parsePolicy(t, "tiers: {other: {windows: [{limit: 3, per: 1m}]}}"))
	r.server.SetPolicy(parsePolicy(t, small))
	deny()
	r.expect(t, "call=Check tier=small reason=REASON_COST_EXCEEDS_LIMIT denials=1")
}

func TestDenialsOfUnknownReasonsAreNoPanic(t *testing.T) {
	d := new(denials)
	if !d.due(limiter.Reason(255), 1) || d.due(limiter.Reason(255), 2) || !d.due(limiter.Reason(255), limiter.Instant(1).Add(denialEvery)) {
		t.Error("due is wrong")
	}
}
