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
// # How a check flows
//
//	Check ─▶ deny cache ─▶ partition of the key ─▶ its holder ─▶ stream ─▶ node
//	             │                   ▲                  │
//	   denied a moment ago        topology       or another node
//
// A rate denial stands until its RetryAfter has passed. For that time, but hardly more
// than a second, the client repeats it by itself to whoever asks for the same
// ([Decision].Cached). Then one caller asks again, and for a moment (50 ms, or half
// its time) others leave it at that: a key that hammers costs the limiter about one
// call a second, whatever the number of callers. See [WithoutDenyCache].
//
// The nodes tell the client which of them decides for which part of the keys, and
// each key is sent straight there. This is a hint only: every node answers for every
// key, so a client that knows nothing, or asks nodes that tell nothing, asks any. The
// nodes must be reachable under the addresses that they advertise (with TLS, their
// certificates must hold for these); one that is not is passed over.
//
// Checks for one node that are made at the same time share messages, on a long-lived
// stream (two, if it is the only node): that is several times cheaper than a call for each.
// A lone check waits for nothing; one that is made while a message is under way waits for
// company until that is answered or 64 have come, but no longer than a millisecond. A deadline ends a check
// when it is over; that its context was canceled is seen within 5 ms. Messages have no metadata of
// their own, so a check with a request id ([WithRequestID]) or other outgoing metadata is
// a call of its own, to the same node; and interceptors and stats handlers that come in
// by dial options see streams, whose messages are types of the client's own, and not
// checks. A batch is split by node.
//
// # What a retry can cost
//
// Nodes come and go, and the client moves on. Whatever time is left of the deadline
// is used to get an answer:
//
//   - A node that drains, or whose connection is gone, is not asked any more.
//     What was on its way when the connection broke is sent to another.
//   - A node that answers UNAVAILABLE has not decided. The call is tried again after a
//     pause of milliseconds, elsewhere if possible.
//   - A node that is silent is waited for, but not with the whole deadline: after a
//     third of what is left (at least 40 ms, at most 500 ms) another is asked too, and
//     the first answer wins. After three such tries in a row the node is avoided,
//     and asked once a second whether it is back. A node that answers other calls
//     meanwhile is alive, and waits itself: it has 500 ms.
//
// If a connection broke or a node was silent, what it did with the call is not
// known: it may be counted by both nodes. So a retry errs toward denial: a key may
// lose the units of that one call, and never gets more than its limit. Runs lose
// nothing: to acquire or to release again has the effect of once.
//
// # A limiter that cannot be reached
//
// A gateway never waits on its limiter: each call has a deadline with all its
// tries, 50 ms unless [WithTimeout] says otherwise. What becomes of a request
// about which nothing could be decided is the gateway's choice, made once by
// [WithPolicy]:
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
// due at about the same time goes out in one call for each node. If an answer to
// Acquire never arrives, the slot that it may hold is freed in the background.
//
// The package imports grpc, the generated API, SipHash and the error codes of the
// contract, and nothing of the server.
package client
