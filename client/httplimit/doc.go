// Package httplimit puts a rate limit in front of an http.Handler.
//
//	limit, err := httplimit.New(limiter, httplimit.Config{
//		Key: func(r *http.Request) (key, tier string, err error) { ... },
//		Run: func(r *http.Request) bool { return r.Method == "POST" },
//	})
//	...
//	http.ListenAndServe(addr, limit(api))
//
// What an API's client then sees is the contract (package limiter/contract):
// X-RateLimit headers and X-Request-Id on every response, and denials as JSON
// errors, with Retry-After where waiting helps.
//
// A request costs one Check. A request that is a run costs one Acquire, which
// takes the slot and the units in the same step. The slot is freed when the
// handler returns, however it returns; but if it answered 202 the lease is
// detached instead, and belongs to the worker that was given its id
// ([LeaseFromContext]).
//
// When the limiter cannot decide, its client's fail policy does: under fail
// open the request passes, under fail closed it is answered with 503.
//
// Gateways that are not built on http.Handler can use the parts: [Denial],
// [Failure], [Unavailable], [LastKnown], [EnsureRequestID], [Finish].
package httplimit
