// Package cluster makes one limiter of many nodes: it drives the machine of package
// ownership with a real clock, gossip and connections, and answers for every key, from
// its own table where this node holds the partition, else by asking the node that does.
//
//	   gateways                            other nodes
//	       |                                    |
//	  Node.Ask ---- this node decides? ---- limiter.Table <-- changes, snapshots
//	       |  no                                ^
//	peer.Transport --> the holder               | permits
//	                                     ownership.Machine <-- heartbeats, pledges,
//	                                            ^               rounds, handoffs
//	                       gossip --> ring ------+ views
//
// A decision for a partition that is held takes the partition's lock and nothing else: it
// never enters the machine. The machine is one for the node, behind one mutex, and is fed by
// a ticker, by what other nodes send, and by views of the cluster that gossip gives rise to.
//
// What this package adds to the promise of the packages below it: a call that is not
// decided within its deadline fails, and was not decided, or its error says that this is
// not known; a forward that was written is never sent again.
package cluster
