package secure

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync/atomic"
)

// A Caller is who is at the other end of one connection. It is safe for concurrent use.
type Caller struct {
	guard   *Guard
	verdict atomic.Pointer[verdict]
}

// verdict is what was found of a connection's certificates.
type verdict struct {
	epoch uint64
	err   error
}

// Caller returns who is at the other end of a new connection.
func (g *Guard) Caller() *Caller { return &Caller{guard: g} }

// Check tells whether the caller may ask: nil, ErrUnknown or ErrForbidden. state is that of
// the connection, nil in plain text; token what the call shows, "" if nothing. While nothing
// changes it costs one comparison for a certificate, and a hash for a token.
func (c *Caller) Check(state *tls.ConnectionState, token string) error {
	g := c.guard
	if !g.Authenticated() {
		return nil
	}
	err := ErrUnknown
	if state != nil && len(state.PeerCertificates) > 0 {
		if err = c.known(state.PeerCertificates); err == nil {
			return nil
		}
	}
	if token != "" && g.Knows(token) {
		return nil
	}
	return err
}

// Knows tells whether a token is one of those in the port's file. How long it takes tells nothing
// of them.
func (g *Guard) Knows(token string) bool { return g.current.Load().knows(token) }

func (c *Caller) known(chain []*x509.Certificate) error {
	epoch := c.guard.epoch.Load()
	v := c.verdict.Load()
	if v == nil || v.epoch != epoch {
		v = &verdict{epoch, c.guard.judge(chain, x509.ExtKeyUsageClientAuth)}
		c.verdict.Store(v)
	}
	return v.err
}

// Bearer returns the token of an authorization header, "" if there is none.
func Bearer(authorization string) string {
	const scheme = "bearer "
	if len(authorization) < len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(authorization[len(scheme):])
}
