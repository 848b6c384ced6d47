// Package gossip tells a node who else is in the cluster.
//
// Each node probes some other every half second and spreads what it learns, so that all know within
// a second who came, and within about two who died. A node knows a member as a Meta: its name, where
// its services listen, and what must agree between members. Nothing here says who decides for a
// key; a member that is called dead may be alive, and the other way round for a while.
//
// What a user of the package can rely on:
//
//   - Changes only says that it pays to look; Members is always whole and current. No event can be
//     lost, as none carries anything. Nothing that a user does, or fails to do, holds up gossip.
//   - A name is one member. If it came back before its last life was known dead, on the same or
//     another address, the life with the higher boot number counts, at once.
//   - A split heals, however long it was: every few seconds a node tries to reach its seeds (their
//     names resolved anew) and the last known addresses of all who are missing.
//   - A node whose protocol, ring configuration or keys differ is refused by both sides, and both say
//     why in their log. It is never a member for some and not for others. The same holds for another
//     label or other gossip keys, where a message cannot even be read.
//
// A life that left, by Leave, is over: a node that wants back starts again.
package gossip
