package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A Reload says what came of reading the policy file again.
type Reload uint8

// What comes of it.
const (
	Applied   Reload = iota // the policy is another from now on
	Unchanged               // it means the same as before
	Refused                 // something is wrong in it: the old one stays
	reloadResults
)

var reloadNames = [reloadResults]string{"applied", "unchanged", "refused"}

// policyState is what is told of the policy.
type policyState struct {
	fingerprint atomic.Pointer[string] // nil: not known
	reloads     [reloadResults]atomic.Uint64
}

// SetPolicy takes the fingerprint of the policy that the node goes by.
func (m *Metrics) SetPolicy(fingerprint string) { m.policy.fingerprint.Store(&fingerprint) }

// Reloaded counts that the policy file was read again.
func (m *Metrics) Reloaded(r Reload) { m.policy.reloads[r].Add(1) }

var (
	policyDesc = prometheus.NewDesc("sluice_policy_info",
		"1, labeled by the fingerprint of the policy that this node goes by.", []string{"fingerprint"}, nil)
	reloadsDesc = prometheus.NewDesc("sluice_policy_reloads_total",
		"How often the policy file was read again, by what came of it.", []string{"result"}, nil)
	shadowedDesc = prometheus.NewDesc("sluice_shadow_denials_total",
		"Calls that a shadow tier allowed and would otherwise have denied.", []string{"tier", "call", "reason"}, nil)
)

func (p *policyState) collect(to chan<- prometheus.Metric) {
	if fingerprint := p.fingerprint.Load(); fingerprint != nil {
		to <- prometheus.MustNewConstMetric(policyDesc, prometheus.GaugeValue, 1, *fingerprint)
	}
	for r := range reloadResults {
		to <- counter(reloadsDesc, p.reloads[r].Load(), reloadNames[r])
	}
}
