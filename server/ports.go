package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/securerpc"
)

// Ports says who may come to a node's ports. The zero value lets everybody in, in plain text.
type Ports struct {
	GRPC, HTTP, Peer, Admin secure.Port // their names are set by the node
	MaxConnections          int         // of each port at a time; 0: DefaultMaxConnections
}

// DefaultMaxConnections is how many connections a port has at a time unless told otherwise.
const DefaultMaxConnections = 16384

// guards stand at the ports of a node.
type guards struct {
	grpc, http, peer, admin *secure.Guard
	tokens                  *secure.Guard // of trusted callers over HTTP; nil: there are none
	most                    int
}

// openGuards reads what the ports' files hold.
func openGuards(c *Config) (g guards, err error) {
	if g.most = c.Ports.MaxConnections; g.most < 0 {
		return g, fmt.Errorf("max connections is %d, must not be negative", g.most)
	} else if g.most == 0 {
		g.most = DefaultMaxConnections
	}
	if p := &c.Ports.Peer; p.Encrypted() && p.CA == "" {
		return g, errors.New("peer: nodes know each other by their certificates: the file of the authority that signs them is missing")
	}
	for _, of := range []struct {
		guard     **secure.Guard
		port      *secure.Port
		name      string
		protocols []string
	}{
		{&g.grpc, &c.Ports.GRPC, "grpc", []string{"h2"}},
		{&g.http, &c.Ports.HTTP, "http", []string{"h2", "http/1.1"}},
		{&g.peer, &c.Ports.Peer, "peer", []string{"h2"}},
		{&g.admin, &c.Ports.Admin, "admin", []string{"h2", "http/1.1"}},
	} {
		of.port.Name, of.port.Probed = of.name, of.name == "admin"
		if *of.guard, err = secure.Open(*of.port, c.Log, of.protocols...); err != nil {
			return g, err
		}
	}
	if c.HTTPTokenFile != "" {
		if g.tokens, err = secure.Open(secure.Port{Name: "http-token-file", TokenFile: c.HTTPTokenFile}, c.Log); err != nil {
			return g, err
		}
	}
	return g, secure.KeepApart([]*secure.Guard{g.peer, g.admin}, []*secure.Guard{g.grpc, g.http})
}

// watchPorts has each guard read its files again, until ctx ends.
func (n *Node) watchPorts(ctx context.Context) {
	for _, g := range []*secure.Guard{n.guards.grpc, n.guards.http, n.guards.peer, n.guards.admin, n.guards.tokens} {
		if g != nil {
			n.workers.Go(func() { g.Watch(ctx) })
		}
	}
}

// listen opens a port that has no more connections than it may.
func (n *Node) listen(address string) (net.Listener, error) {
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return secure.Limit(lis, n.guards.most, n.log), nil
}

// protectPeers lets the cluster's port go by its guard.
func (n *Node) protectPeers(of *cluster.Config) {
	of.Listen = n.listen
	of.PeerServer = append([]grpc.ServerOption(nil), securerpc.ServerOptions(n.guards.peer)...)
	of.PeerDial = securerpc.DialOptions(n.guards.peer)
}

// warn says what a port lacks that others can reach.
func (n *Node) warn(whose string, at net.Addr, g *secure.Guard) {
	const open = " is open to other machines, and "
	if isLoopback(at) {
		return
	}
	switch {
	case !g.Encrypted() && !g.Authenticated():
		n.log.Warn("the port for "+whose+open+"neither encrypted nor authenticated", "address", at.String())
	case !g.Encrypted():
		n.log.Warn("the port for "+whose+open+"not encrypted: tokens and keys can be read on the way", "address", at.String())
	case !g.Authenticated():
		n.log.Warn("the port for "+whose+open+"not authenticated", "address", at.String())
	}
}

// warnCluster does so for the ports that nodes have for each other.
func (n *Node) warnCluster(c *cluster.Config) {
	if at, err := net.ResolveTCPAddr("tcp", c.Peer); err == nil {
		n.warn("other nodes", at, n.guards.peer)
	}
	if at, err := net.ResolveTCPAddr("tcp", c.Gossip); err == nil && !isLoopback(at) && len(c.GossipKeys) == 0 {
		n.log.Warn("the port for gossip is open to other machines, and neither encrypted nor authenticated", "address", c.Gossip)
	}
}
