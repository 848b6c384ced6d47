package metrics

import (
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	rpccode "google.golang.org/genproto/googleapis/rpc/code"

	"github.com/overten/sluice/limiter"
)

// Handler returns what Prometheus collects from: these counts, and those of the process and
// the Go runtime. version is the program's.
func (m *Metrics) Handler(version string) http.Handler {
	registry := m.registry(version)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}

func (m *Metrics) registry(version string) *prometheus.Registry {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "1, labeled by the version of the program and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// What is told.
var (
	decisionLabels = []string{"tier", "reason", "exactness"}
	checksDesc     = prometheus.NewDesc("sluice_decisions_total",
		"Checks that were decided for callers of this node, by whichever node holds their key.", decisionLabels, nil)
	acquisitionsDesc = prometheus.NewDesc("sluice_acquisitions_total",
		"Acquisitions of runs that were decided for callers of this node, by whichever node holds their key.", decisionLabels, nil)
	callsDesc = prometheus.NewDesc("sluice_calls_total",
		"Calls of gateways that ended; of a stream each batch is one.", []string{"method", "code"}, nil)
	durationDesc = prometheus.NewDesc("sluice_call_duration_seconds",
		"How long calls of gateways took, from when they were parsed until their answer was made.", []string{"method"}, nil)
)

func descs() []*prometheus.Desc {
	counts := []*prometheus.Desc{checksDesc, acquisitionsDesc, shadowedDesc, callsDesc, durationDesc, policyDesc, reloadsDesc}
	return append(counts, readingDescs...)
}

// Describe is for Prometheus.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descs() {
		to <- d
	}
}

// Collect is for Prometheus.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for name, t := range m.allTiers() {
		t.collect(to, name)
	}
	for method := range methods {
		m.collectCalls(to, method)
	}
	m.policy.collect(to)
	if read := m.read.Load(); read != nil {
		r := (*read)()
		r.collect(to)
	}
}

// collect tells of what was decided at all: most outcomes never come in most tiers.
func (t *Tier) collect(to chan<- prometheus.Metric, name string) {
	for call := range shadowedCalls {
		for r := range limiter.Reason(reasons) {
			if n := add(func(s Stripe) *atomic.Uint64 { return t.Shadowed(s, call, r) }); n > 0 {
				to <- counter(shadowedDesc, n, name, shadowedNames[call], ReasonName(r))
			}
		}
	}
	for r := range reasons {
		for e := range degrees {
			d := &limiter.Decision{Reason: limiter.Reason(r), Exactness: limiter.Exactness(e)}
			labels := []string{name, ReasonName(d.Reason), ExactnessName(d.Exactness)}
			if n := add(func(s Stripe) *atomic.Uint64 { return t.Checks(s, d) }); n > 0 {
				to <- counter(checksDesc, n, labels...)
			}
			if n := add(func(s Stripe) *atomic.Uint64 { return t.Acquisitions(s, d.Reason, d.Exactness) }); n > 0 {
				to <- counter(acquisitionsDesc, n, labels...)
			}
		}
	}
}

func (m *Metrics) collectCalls(to chan<- prometheus.Metric, method Method) {
	for code := range codeCount {
		if n := add(func(s Stripe) *atomic.Uint64 { return &m.calls[s][method].codes[code] }); n > 0 {
			to <- counter(callsDesc, n, method.String(), rpccode.Code(code).String())
		}
	}
	var count uint64
	below := make(map[float64]uint64, bucketCount)
	for i := range bucketCount {
		count += add(func(s Stripe) *atomic.Uint64 { return &m.calls[s][method].buckets[i] })
		if i < bucketCount-1 {
			below[bound(i)] = count
		}
	}
	nanos := add(func(s Stripe) *atomic.Uint64 { return &m.calls[s][method].nanos })
	to <- prometheus.MustNewConstHistogram(durationDesc, count, time.Duration(nanos).Seconds(), below, method.String())
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// ReasonName is how a reason reads in a label: as in the API, but for what was allowed.
func ReasonName(r limiter.Reason) string {
	names := [...]string{
		limiter.ReasonNone:               "allowed",
		limiter.ReasonRateLimited:        "rate_limited",
		limiter.ReasonConcurrencyLimited: "concurrency_limited",
		limiter.ReasonCostExceedsLimit:   "cost_exceeds_limit",
		limiter.ReasonKeyUnknown:         "key_unknown",
		limiter.ReasonKeyRevoked:         "key_revoked",
		limiter.ReasonKeySuspended:       "key_suspended",
		limiter.ReasonTableFull:          "table_full",
	}
	return names[r%reasons]
}

// ExactnessName is how a degree of exactness reads in a label.
func ExactnessName(e limiter.Exactness) string {
	names := [degrees]string{limiter.Undecided: "undecided", limiter.Exact: "exact", limiter.Recovering: "recovering", limiter.Degraded: "degraded"}
	return names[e%degrees]
}
