package rpc

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// What is answered is counted, once, by whichever call it was asked.
func TestWhatIsDecidedIsCounted(t *testing.T) {
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 1000})
	c.Metrics = metrics.New()
	r.serve(t, c)
	r.check(t, &sluicev1.CheckRequest{Key: "a"})
	check := func(key string) *sluicev1.CheckRequest { return &sluicev1.CheckRequest{Key: key} }
	if _, err := r.CheckBatch(t.Context(), &sluicev1.CheckBatchRequest{Checks: []*sluicev1.CheckRequest{check("a"), check("b"), check("a"), check("a")}}); err != nil {
		t.Fatal(err)
	}
	s := r.stream(t, t.Context())
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Checks: []*sluicev1.CheckRequest{{Key: "c", Tier: "two"}, check("")}})
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"1", "2"} {
		if _, err := r.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: "d", RunId: run, TtlMs: 1000, RequestCost: proto.Uint32(1)}); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = r.Check(t.Context(), check(""))
	_, _ = r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: "?"})

	w := httptest.NewRecorder()
	c.Metrics.Handler("").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, _ := io.ReadAll(w.Result().Body)
	for _, line := range []string{
		`sluice_decisions_total{exactness="exact",reason="allowed",tier="small"} 4`,
		`sluice_decisions_total{exactness="exact",reason="rate_limited",tier="small"} 1`,
		`sluice_decisions_total{exactness="exact",reason="allowed",tier="two"} 1`,
		`sluice_acquisitions_total{exactness="exact",reason="allowed",tier="small"} 1`,
		`sluice_acquisitions_total{exactness="exact",reason="concurrency_limited",tier="small"} 1`,
		`sluice_calls_total{code="OK",method="Check"} 1`,
		`sluice_calls_total{code="INVALID_ARGUMENT",method="Check"} 1`,
		`sluice_calls_total{code="OK",method="CheckBatch"} 1`,
		`sluice_calls_total{code="OK",method="CheckStream"} 1`,
		`sluice_calls_total{code="OK",method="Acquire"} 2`,
		`sluice_calls_total{code="NOT_FOUND",method="Release"} 1`,
		`sluice_call_duration_seconds_count{method="Check"} 2`,
	} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if t.Failed() {
		t.Log(string(b))
	}
}
