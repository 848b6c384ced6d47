// Package sim runs whole clusters of the ownership machine in virtual time: nodes that
// start, drain, die, vanish, are paused anywhere, lose messages and each other, while
// clients ask for units and hold leases. As it goes it checks what the machine promises:
//
//   - of nodes that reach each other no two are permitted to decide for one partition,
//     from 150 ms after they could reach each other or woke;
//   - no key is admitted more than its limit in any window of true time, but for what a
//     node admitted in the last moments before it died;
//   - no key is denied what it has, units or slots;
//   - a lease that a client was told of and renews in time is never lost and never
//     doubled, one whose release was told is never live again (that a node which has
//     nothing knows no such lease is no such word), and no slot is granted beyond the limit;
//   - no partition is without a node that may decide for more than 10 s of calm, and after
//     so long each has one holder, the view's owner, with a complete copy at its
//     successor, and nothing is left to be told;
//   - once all leases are released none is in use anywhere.
//
// Splits excuse some of this while they last, and for a while after; see ledger.forget.
//
// A run is given by its seed: the same seed, the same run. What fails is printed with it.
// Most seeds keep their state in a naive store, which can name each hit that is lost or
// counted twice; the others in the engine that nodes have.
//
// # Where things are
//
//	world, node, clock     the cluster, one machine and its process, time
//	network                what carries messages between nodes
//	store, engine          where state is kept: naively, or in a limiter.Table
//	call, hits, runs       clients: how a call finds who decides, units, leases
//	ledger, leases, check  the truth, and what is compared with it
//	scenario, trouble      what a seed does, and what befalls nodes
//	script                 stories told by hand, for testdata
package sim
