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
//	units, tier, identity    what goes in: instants, costs, limits, hashed keys
//	decision                 the arithmetic, free of side effects but for one call to count
//	quick                    the same for the most frequent case
//	history, tree, chunk     when units were admitted, run-length encoded
//	records, partition       the keys of one lock
//	arena                    the memory of all partitions
//	lease, seal              runs, and the ids by which they are named
//	table, run               all of it, safe for concurrent use
//	permit, doubt            whether a partition may be decided for, and how sure it is
//	recorder, mark           what changes in a partition, written down for its copies
//	expect, foresee          memory that is asked for before it is needed
//	snapshot, replay, merge  state that comes from another node
//	encoding, past           what that looks like on its way
//	inspect                  what operators ask
//
// # Copies
//
// Where several nodes share the partitions, whoever decides for one has it recorded, and
// sends a [Table.Snapshot] and from then on its [Changes] to those who keep a copy:
//
//	holder:  Record ── Snapshot ── Check, Acquire, … ── Take ── Check, … ── Take
//	                      │                               │                  │
//	copy:              Install ──────────────────────── ApplyFrom ──────── ApplyFrom ── Permit
//
// A copy that has all of them answers, once it is permitted, as the holder would have.
// Which node may decide, and until when, is not known in here: it is told by
// [Table.Permit], and each answer carries until when it may be told.
//
// Instants on the way are the sender's. The reader says what to add to make them its own;
// that is rounded up to a millisecond, so what moved may expire so much later, never
// earlier. Quanta above a millisecond begin at other instants on another node: the hits
// that are admitted after a move are then told apart otherwise, as finely as before.
// Nodes start their clocks far above the longest period, so that all they have to tell has
// an instant on every other.
//
// # Accuracy
//
// Rounding errs in one direction: a hit may expire late, by less than a millisecond for
// limits up to 10,000 and by less than a thousandth of the period beyond, never early; by
// about as much once a history has had a million entries, and was thinned. A
// wait is rounded up to the millisecond; waiting exactly that long admits the request,
// and a millisecond less does not.
package limiter
