package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/overten/sluice/server/secure"
)

// listen opens the ports for gateways and operators.
func (n *Node) listen(c *Config) (err error) {
	if n.lis, err = n.open("gRPC for gateways", c.GRPC, c.TLS); err != nil {
		return err
	}
	if c.HTTP != "" {
		if n.httpAt, err = n.open("HTTP for gateways", c.HTTP, c.TLS); err != nil {
			return err
		}
	}
	if c.Admin != "" && c.Cluster != nil {
		n.adminAt, err = n.open("operators", c.Admin, c.AdminTLS)
	}
	return err
}

// open opens a port, with TLS if there are files for it.
func (n *Node) open(what, address string, with secure.Files) (net.Listener, error) {
	var config *tls.Config
	if with.Enabled() {
		i, err := n.identity(what, with)
		if err != nil {
			return nil, err
		}
		config = i.Server()
	}
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if config != nil {
		lis = tls.NewListener(lis, config)
	}
	return lis, nil
}

// identity loads files that are looked at from then on.
func (n *Node) identity(what string, files secure.Files) (*secure.Identity, error) {
	i, err := secure.Load(files, n.log)
	if err != nil {
		return nil, fmt.Errorf("TLS, %s: %w", what, err)
	}
	n.secured = append(n.secured, i)
	return i, nil
}

// lookAtCertificates reads certificates that have changed, until ctx ends.
func (n *Node) lookAtCertificates(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, i := range n.secured {
				i.Look()
			}
		}
	}
}

// warnOf says what is missing at a port that other machines reach.
func warnOf(log *slog.Logger, whose, address string, with *secure.Files) {
	switch {
	case !with.Enabled():
		log.Warn("the port for "+whose+" is open to other machines, and neither encrypted nor authenticated", "address", address)
	case with.CA == "":
		log.Warn("the port for "+whose+" is open to other machines: encrypted, but anybody may call", "address", address)
	}
}
