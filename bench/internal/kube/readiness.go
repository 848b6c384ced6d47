package kube

// failureThreshold is after how many failed probes in a row a pod is no longer ready, as is
// usual. One that succeeds is enough for it to be.
const failureThreshold = 3

// A Readiness is what a pod's readiness probe has come to. A new one is not ready.
type Readiness struct {
	Ready    bool
	failures int
}

// Observe takes the result of a probe.
func (r *Readiness) Observe(ok bool) {
	if ok {
		r.Ready, r.failures = true, 0
		return
	}
	if r.failures++; r.failures >= failureThreshold {
		r.Ready = false
	}
}
