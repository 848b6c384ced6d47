// Package ownership decides which node of a cluster may decide for which partition, so
// that at any moment one does, and no count is lost when that changes.
//
// It is one type, the [Machine]: what one node knows and says about all partitions. The
// machine is pure. There is no network in it, no clock, no goroutine and no log; time,
// chance and messages come in, permits and messages go out, and the same events always
// have the same outcome. Package cluster drives it with real ones, package sim with thousands of
// imagined clusters.
//
//	events                                               outcomes
//	Tick           every 50 ms               ┌─────────┐
//	SetView        who should hold           │         │  Store     permits, snapshots,
//	Receive        another node's frame ────▶│ Machine │──▶         changes taken in
//	ReceiveCopying its states and changes    │         │  Letters   what to send to whom
//	Replicate      there are changes         └─────────┘  Touched   whose Route is new
//	Gone, Relinked a life, a link ended
//
// A view says who should hold a partition, and two nodes may have different views. So who
// may decide is settled by three things beside it:
//
//   - A generation ([Generation]) names one holding. Its number grows, and of two holders
//     the later one holds.
//   - A pledge ([Ask], [Pledge]) is a node's word, to one node at a time, that it may
//     decide. It binds for Binding from its giving, and permits until Failover after it
//     was asked for; the asker's clock alone measures the one, the giver's the other.
//   - A round ([Stand], [Vote]) asks all live members for their pledges, where somebody's
//     is not to be had.
//
// # What a node is to a partition
//
//	nothing ──snapshot──▶ copy ──round (Promote), or Commit──▶ holder ◀─▶ holder, frozen
//	   │                   ▲ ▲                                  │ ▲            │
//	   │                   │ └── a later generation is heard ───┘ │            │
//	   │                   └── commit sent ──────────────────────────────────────┘
//	   └── round (Begin): the owner, if nobody has a state ─────────┘
//
// A holder decides while it is permitted: until the earliest instant that the pledges of
// its registered copies give, and not beyond 200 ms after the oldest change that one of
// them lacks. Without a registered copy the pledge of one other node, the witness,
// takes their place; without another node, the node's own tick.
//
//	machine, peer, receive   events, time, the other nodes and their clocks
//	part, generation         what is known of a partition: holder, generation, marks
//	hold, pledge             a holder: its permit, its log of changes, its copies
//	copy                     both ends of copying: snapshots, deltas, acknowledgements
//	round                    standing: to promote, to drop a silent copy, to begin
//	handoff                  freezing and giving up a partition to its owner
//	meet                     two holders that meet, and the remainder of the earlier
//	message, out, status     what nodes say, and what operators see
//
// # Invariants
//
//   - A node has given its pledge to one node at most. A copy that stands is not bound by
//     its own, a holder counts all registered copies: so of nodes that hear each other
//     no two are permitted for a partition.
//   - A permit ends before the pledge that gave it stops to bind, if clocks do not run more
//     than a tenth apart.
//   - A copy's [Position] is true: it has each change of that generation up to there, and
//     all that the generation began with. What does not follow is refused.
//   - The changes that some registered copy may lack are in the holder's log, or the copy
//     gets a snapshot.
//   - A holding ends for good with its [Commit], which is sent when all registered copies
//     have all changes, and taken only by a copy that is at exactly that position. With it
//     the pledges of the copies pass on to the receiver, for no longer than they bind.
//   - What a holder that yields has admitted is kept until the later one has acknowledged
//     it; by its marks that one adds each change once.
//   - Messages may be lost, doubled, late and out of order. Nothing but a wait comes of it.
//
// # Which way it errs
//
// If it is not known who may decide, nobody does, and calls wait. If it is not known
// whether a hit was counted, it is counted again: a key may get less than its limit, not
// more. Instants of other nodes are taken as too late by what the quickest message took,
// never as too early. What can be admitted twice all the same is what a holder admitted
// and nobody else has: in the moments before it dies, up to 200 ms if its links were cut
// before, and on each side of a split for as long as that lasts.
//
// # Out of scope
//
// Who is a member is for gossip to say, who owns what for the ring. What a state is, and how
// it is merged, only the [Store] knows. How messages travel, when they are batched, and
// that a process has provably ended, is the driver's. A pause that no clock shows cannot
// be noticed: the permits of before it go on until the first message says otherwise. Nodes
// that lie are not defended against.
package ownership
