// Package gateway is a reverse proxy that is the API contract: what stands
// between the API's clients and an upstream that knows neither limits nor keys.
//
// One request's way:
//
//	client ── key or address ──> limiter: one Check, or for a run one Acquire
//	             │ denied: 429, 401, 403 …            │ allowed
//	             ▼                                    ▼
//	        contract error <── refused, broken ── upstream
//	                              or too slow
//
// A request costs one unit whatever becomes of it, unless the limiter denies it.
// Every response has the X-RateLimit headers and X-Request-Id, and every error
// has the contract's body; an upstream's error passes untouched if it has that
// shape already, and is replaced if not.
//
// A run holds a lease while it is served. Its id goes to the upstream in
// [LeaseHeader], and never to a client. When the upstream answers 202 the lease
// stays, for the worker that was given the id; otherwise it is released when the
// response ends, however it ends.
//
// [Config] says what there is to choose, [LoadConfig] reads it from a file, and
// docs/gateway.md explains both.
package gateway
