// Package ring says which member of the cluster should hold which partition.
//
// A View is the whole answer for one set of members: for every partition its owner, and its
// successor, the member that would own it were the owner gone. Two nodes that know the same
// members have the same view, in whatever order they learned of them, and no message is needed to
// agree on it. A view says who should hold a partition, never who does: that is settled between
// the nodes, and in a moment of change the two differ.
//
// Underneath is consistent hashing with bounded loads. Every member stands at many places of a
// circle of hashes (its virtual nodes); a partition belongs to the first member after its own
// hash that has room. So a member that joins takes its share from all others, what it does not
// take stays (almost all of it) where it was, and no member owns more than its share by a fixed
// factor.
//
//	members:    a        b        c
//	circle:  ──a──b──a──c──b──c──a──b──c──
//	                   ↑ partition 7: owner c; without c it is b's, so b is its successor
//
// The successor is found by building the table again without the owner, and nothing less will do:
// the owner's neighbour on the circle may have no room, and what the package underneath calls the
// closest members walks a circle of its own. A copy kept anywhere else would be in the wrong
// place on the day that it is needed.
//
// Members that drain are in the view, own nothing and succeed nobody.
package ring
