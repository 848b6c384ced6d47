// Package metrics counts what a node does for its callers, and tells Prometheus.
//
// [Metrics] is an object of one node: several nodes in one process count apart. Counting is
// on the path of every decision, so it is an addition to a counter that is there already, of
// several that hold the same, so that processors seldom meet at one: see [Stripe]. Only when
// somebody asks are they added up, by [Metrics.Handler].
//
// Labels are few, and their values come from a small fixed set: tiers, reasons, degrees of
// exactness, methods and codes. A key never is one.
package metrics
