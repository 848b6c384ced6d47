// Package gateway is what gateways do to a cluster, with everything that they were told written
// down: [Traffic] is their steady load, a [Gateway] one of them, [Runs] the leases that they
// hold. What can be asked from outside is asked through a [Desk]: how keys stand, and what is
// left of them.
package gateway
