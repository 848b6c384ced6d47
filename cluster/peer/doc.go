// Package peer is how nodes talk to each other, and alone knows the protocol that they do it
// in. It carries three things, between each two nodes and in either direction:
//
//	frames    who holds what, pledges, rounds: may be lost    Transport.Send → Handler.Frame
//	copies    states of partitions and their changes          Transport.Send → Handler.Copying
//	calls     questions for the node that decides             Transport.Forward → Handler.Decide
//
// It decides nothing about any of them.
//
// # Streams
//
// Each is a stream on a connection of its own, so that a large state does not hold up a
// heartbeat, nor either of them a call:
//
//	  node a                                   node b
//	┌──────────────┐   asks for b's frames   ┌──────────────┐
//	│ frames  lane ├────────────────────────▶│ session      │
//	│ copies  lane ├────────────────────────▶│ session      │    and the same three
//	│ calls   lane ├────────────────────────▶│ session      │    from b to a
//	└──────────────┘   calls b; b answers    └──────────────┘
//
// A lane keeps its stream open: it dials again, for ever and fast. Letters (frames and copies)
// flow to the side that has dialled. A gRPC client reads all that had arrived when a
// connection broke, a server may lose the last of it, and the last that a dying node wrote is
// what its copies need.
//
// Whoever reads slowly is not waited for: letters wait in an outbox of bounded size, and what
// does not fit is dropped. For copies, where nothing may be missing between two changes, that
// ends the stream; it begins anew, and Handler.Relinked tells. Whatever waits shares
// messages, and nothing waits on purpose. Large letters travel in pieces; between two of them
// goes what is small and not about the same partition.
//
// # Who is there
//
// Both sides of a stream begin with a hello: name, boot, protocol version, the fingerprint of
// what all members share, and whom they believe to have called. What does not match is
// refused, with a line in the log: an address may have come to belong to another node.
//
// A life of a node has ended for certain when every stream to and from it has ended and a
// connection begun after that was refused; Handler.Gone tells, within milliseconds of the
// process's end. Silence proves nothing: after some seconds of it the lanes dial again, and
// that is all.
//
// # Calls
//
// Calls that are made at the same time share messages, and so do answers. Each call is told
// once: its answer, or that it was certainly not decided and may be asked elsewhere, or that
// nobody can know. Deadlines travel as what is left of them, corrected by how much longer
// than the quickest message this one took. Whoever gets a call too late does not decide it.
//
// API keys never travel: a call names its key by the hashes that the engine knows it by.
package peer
