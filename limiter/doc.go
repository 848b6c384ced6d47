// Package limiter is the engine: it decides whether requests and runs may pass, and
// knows nothing else. There is no network in it, no clock, no goroutine and no log;
// every method takes the instant at which it is to decide, so the same calls always have
// the same answers.
//
// # A decision
//
// An API key is hashed to a [Key]: its partition and its identity. A [Tier] says what the
// key may do. [Table.Check] locks the partition, finds the key's history and asks each
// window of the tier: may so many more units pass in the period that ends now? All
// windows take the cost or none does. Nothing is estimated:
//
//	units admitted in (now − period, now] + cost ≤ limit
//
// # Where things are
//
//	units, tier, identity  what goes in: instants, costs, limits, hashed keys
//	decision               the arithmetic, free of side effects but for one call to count
//	quick                  the same for the most frequent case
//	history, tree, chunk   when units were admitted, run-length encoded
//	records, partition     the keys of one lock
//	arena                  the memory of all partitions
//	lease, seal            runs, and the ids by which they are named
//	table                  all of it, safe for concurrent use
//
// # Accuracy
//
// Rounding errs in one direction: a hit may expire late, by less than a millisecond for
// limits up to 10,000 and by less than a thousandth of the period beyond, never early. A
// wait is rounded up to the millisecond; waiting exactly that long admits the request,
// and a millisecond less does not.
package limiter
