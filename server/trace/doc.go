// Package trace tells an OpenTelemetry collector what became of the calls that somebody traces, so
// that a request's trace shows the limiter too, on each node that had a part in it:
//
//	gateway's span
//	└─ Check, on the node that was asked
//	   └─ Forward, on the same node: the way to the holder and back
//	      └─ Decide, on the node that holds the key
//
// A node begins no trace of its own: spans are made only for a call that comes with a W3C
// traceparent whose flag says sampled. They carry tier, decision and cost, and never a key, an
// identity or a lease id.
//
// It alone knows OpenTelemetry. Package rpc and package cluster each declare what they need of it,
// and have nil where a node traces nothing. Spans are sent in batches, by a goroutine of its own;
// when the collector is slow or gone they are dropped, and no decision waits.
package trace
