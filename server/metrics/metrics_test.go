package metrics

import (
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter"
)

// scrape returns what Prometheus would get, without comments.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler("v1").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(string(b), "")
}

func holds(t *testing.T, all string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+all, "\n"+line+"\n") {
			t.Errorf("%s is missing from\n%s", line, all)
		}
	}
}

func TestDecisionsAreCountedByTierReasonAndExactness(t *testing.T) {
	m := New()
	var tally Tally
	pro := m.Tier("pro")
	for i := range 100 {
		d := limiter.Decision{Exactness: limiter.Exact}
		if i%10 == 9 {
			d = limiter.Decision{Exactness: limiter.Recovering, Reason: limiter.ReasonRateLimited}
		}
		tally.Add(pro.Checks(Stripe(i/50), &d))
	}
	tally.Flush()
	tally.Flush() // adds nothing
	m.Tier("free").Acquisitions(AnyStripe(), limiter.ReasonConcurrencyLimited, limiter.Exact).Add(1)
	all := scrape(t, m)
	holds(t, all,
		`sluice_decisions_total{exactness="exact",reason="allowed",tier="pro"} 90`,
		`sluice_decisions_total{exactness="recovering",reason="rate_limited",tier="pro"} 10`,
		`sluice_acquisitions_total{exactness="exact",reason="concurrency_limited",tier="free"} 1`,
	)
	if n := strings.Count(all, "\nsluice_decisions_total"); n != 2 {
		t.Errorf("%d series of decisions, want 2: no other outcome ever came", n)
	}
}

// What an answer of another node holds is not to be trusted to be in range.
func TestOutcomesOutOfRangeAreCountedSomewhere(t *testing.T) {
	m := New()
	m.Tier("").Checks(255, &limiter.Decision{Reason: 255, Exactness: 255}).Add(1)
	m.Called(255, Check, codes.Code(4711), -time.Second)
	holds(t, scrape(t, m), `sluice_call_duration_seconds_count{method="Check"} 1`)
}

func TestCallsAreCountedByCodeAndDuration(t *testing.T) {
	m := New()
	for _, d := range []time.Duration{0, 1023, 1024, 2047, time.Minute} {
		m.Called(AnyStripe(), CheckBatch, codes.OK, d)
	}
	m.Called(AnyStripe(), Renew, codes.DeadlineExceeded, time.Second)
	holds(t, scrape(t, m),
		`sluice_calls_total{code="OK",method="CheckBatch"} 5`,
		`sluice_calls_total{code="DEADLINE_EXCEEDED",method="Renew"} 1`,
		`sluice_call_duration_seconds_bucket{method="CheckBatch",le="1.024e-06"} 2`,
		`sluice_call_duration_seconds_bucket{method="CheckBatch",le="2.048e-06"} 4`,
		`sluice_call_duration_seconds_bucket{method="CheckBatch",le="8.589934592"} 4`,
		`sluice_call_duration_seconds_bucket{method="CheckBatch",le="+Inf"} 5`,
		`sluice_call_duration_seconds_sum{method="CheckBatch"} 60.000004094`,
		`sluice_call_duration_seconds_sum{method="Renew"} 1`,
		fmt.Sprintf(`sluice_build_info{go_version=%q,version="v1"} 1`, runtime.Version()),
	)
}

func TestWhatIsToldOfThePolicy(t *testing.T) {
	m := New()
	m.SetPolicy("old")
	m.SetPolicy("new")
	m.Reloaded(Applied)
	m.Reloaded(Refused)
	m.Reloaded(Refused)
	m.Tier("pro").Shadowed(AnyStripe(), ShadowedCheck, limiter.ReasonRateLimited).Add(3)
	m.Tier("pro").Shadowed(AnyStripe(), ShadowedAcquisition, limiter.ReasonConcurrencyLimited).Add(1)
	all := scrape(t, m)
	holds(t, all,
		`sluice_policy_info{fingerprint="new"} 1`,
		`sluice_policy_reloads_total{result="applied"} 1`,
		`sluice_policy_reloads_total{result="unchanged"} 0`,
		`sluice_policy_reloads_total{result="refused"} 2`,
		`sluice_shadow_denials_total{call="check",reason="rate_limited",tier="pro"} 3`,
		`sluice_shadow_denials_total{call="acquire",reason="concurrency_limited",tier="pro"} 1`,
	)
	if strings.Contains(all, "old") {
		t.Error("the fingerprint of before is told")
	}
}

// BenchmarkCall measures what counting adds to a call with one decision.
func BenchmarkCall(b *testing.B) {
	m := New()
	tier := m.Tier("pro")
	d := limiter.Decision{Exactness: limiter.Exact}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := AnyStripe()
			tier.Checks(s, &d).Add(1)
			m.Called(s, Check, codes.OK, 1500)
		}
	})
}

// BenchmarkBatch measures what counting adds to a decision of a batch of 1,000 of which each
// tenth is denied.
func BenchmarkBatch(b *testing.B) {
	m := New()
	tier := m.Tier("pro")
	allowed, denied := limiter.Decision{Exactness: limiter.Exact}, limiter.Decision{Exactness: limiter.Exact, Reason: limiter.ReasonRateLimited}
	b.ReportAllocs()
	for b.Loop() {
		var tally Tally
		s := AnyStripe()
		for i := range 1000 {
			d := &allowed
			if i%10 == 0 {
				d = &denied
			}
			tally.Add(tier.Checks(s, d))
		}
		tally.Flush()
		m.Called(s, CheckStream, codes.OK, time.Millisecond)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/check")
}
