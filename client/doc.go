// Package client asks Sluice for decisions. A gateway imports it to learn,
// before any work starts, whether a request may pass.
//
//	c, err := client.New("127.0.0.1:7070")
//	...
//	defer c.Close()
//
//	d, err := c.Check(ctx, client.CheckRequest{Key: key, Tier: "pro"})
//	switch {
//	case err != nil: // nothing could be decided, or the call was wrong
//	case !d.Allowed: // denied: d.Reason says why, d.RetryAfter for how long
//	default: // pass the request on
//	}
//
// # A limiter that cannot be reached
//
// A gateway never waits on its limiter: each call has a deadline, 50 ms unless
// [WithTimeout] says otherwise. What becomes of a request about which nothing
// could be decided is the gateway's choice, made once by [WithPolicy]:
//
//   - [FailClosed], the default: the call fails with an error that is
//     [ErrUndecided].
//   - [FailOpen]: the call succeeds and allows the request; the exactness of the
//     answer is [Undecided].
//
// A call that the limiter refuses because it is wrong (an unknown tier, a key
// that is too long) fails under either policy, so a client of the API cannot
// open the gate with bad input. So does a call whose caller has canceled it.
// Every error is an [*Error].
//
// # Runs
//
// [Client.Acquire] takes a slot for one concurrent run. The [Lease] that it
// grants is renewed in the background until it is released, handed to a worker
// ([Lease.Detach], [Client.Attach]), or lost:
//
//	g, err := c.Acquire(ctx, client.AcquireRequest{Key: key, RunID: run, RequestCost: client.Cost(1)})
//	if err != nil || !g.Granted {
//		...
//	}
//	defer g.Lease.Release(ctx)
//
// A lease is renewed when a third of its life has passed. If that fails it is
// tried again, with growing pauses, for as long as the lease lives; all that is
// due at about the same time goes out in one call. If an answer to Acquire
// never arrives, the slot that it may hold is freed in the background.
//
// The package imports grpc, the generated API and the error codes of the
// contract, and nothing of the server.
package client
