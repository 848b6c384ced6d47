package rpc

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// Text that is not UTF-8 was once refused without being counted or logged, as it is over gRPC.
func TestLocalCountsWhatItRefuses(t *testing.T) {
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 1000})
	c.Metrics = metrics.New()
	r.serve(t, c)
	_, err := r.server.Local().Check(t.Context(), &sluicev1.CheckRequest{Key: "sk_live_1", Tier: "\xff"})
	missing("/", "").check(t, err)
	_, err = r.server.Local().Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: "\xff"})
	missing("/", "").check(t, err)
	w := httptest.NewRecorder()
	c.Metrics.Handler("").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, method := range []string{"Check", "Release"} {
		if line := `sluice_calls_total{code="INVALID_ARGUMENT",method="` + method + `"} 1`; !strings.Contains(w.Body.String(), line) {
			t.Errorf("%s is missing", line)
		}
		if log := r.log.String(); !strings.Contains(log, `msg="call failed" method=`+method) || strings.Contains(log, "sk_live") {
			t.Errorf("the log is %s", log)
		}
	}
	r.untouched(t)
}
