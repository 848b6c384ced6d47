package secure

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// reloadEvery is how often files are looked at, rejudgeEvery how often callers are.
const (
	reloadEvery  = time.Second
	rejudgeEvery = time.Minute
)

// A Guard stands at a port. It is safe for concurrent use.
type Guard struct {
	Port
	protocols []string
	log       *slog.Logger
	current   atomic.Pointer[material]
	border    *border       // what it keeps to; nil: none. See KeepApart
	epoch     atomic.Uint64 // grows when what was found of callers is to be looked into again
	failed    [4][]byte     // files that were found wrong; the watching goroutine's
	complaint string        // what was logged last; the watching goroutine's
}

// Open reads the files of a port. protocols are what its TLS offers, as "h2". The error says
// which flag or file is wrong.
func Open(p Port, log *slog.Logger, protocols ...string) (*Guard, error) {
	g := &Guard{Port: p, protocols: protocols, log: log}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	raw, err := p.read()
	if err == nil {
		err = g.take(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return g, nil
}

// take goes by what the files hold, unless it is wrong.
func (g *Guard) take(raw [4][]byte) error {
	m, err := g.parse(raw)
	if err != nil {
		return err
	}
	if m.certificate != nil {
		m.server = g.serverConfig(m)
	}
	if g.border != nil {
		g.border.mu.Lock()
		defer g.border.mu.Unlock()
		if err := g.border.crossed(g, m); err != nil {
			return err
		}
	}
	g.current.Store(m)
	g.epoch.Add(1)
	return nil
}

// Watch reads the files again when they have changed, until ctx ends. Whether a path is a
// link, and what it leads to, does not matter: what counts is what is read.
func (g *Guard) Watch(ctx context.Context) {
	if g.files() == [4]string{} {
		return
	}
	reload, rejudge := time.NewTicker(reloadEvery), time.NewTicker(rejudgeEvery)
	defer reload.Stop()
	defer rejudge.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload.C:
			g.reload()
		case <-rejudge.C:
			g.epoch.Add(1)
		}
	}
}

// reload looks at the files once. What is wrong is logged once, as long as it stays the same.
func (g *Guard) reload() {
	raw, err := g.read()
	if err == nil {
		if g.current.Load().same(raw) {
			g.complaint = ""
			return
		}
		if g.complaint != "" && slices.EqualFunc(g.failed[:], raw[:], bytes.Equal) {
			return
		}
		if err = g.take(raw); err == nil {
			g.complaint = ""
			g.log.Info("certificates and tokens were read again", "port", g.Name)
			return
		}
		if g.failed = raw; errors.Is(err, errShared) {
			g.failed = [4][]byte{} // the same files may be good once the other port's have changed
		}
	}
	if what := err.Error(); what != g.complaint {
		g.complaint = what
		g.log.Warn("the new certificates or tokens are of no use: the old ones stay", "port", g.Name, "error", what)
	}
}

// TLS is what a server of the port is to use, nil if it is to speak plain text. Every
// connection gets the newest certificate, and proves anew who it is.
func (g *Guard) TLS() *tls.Config {
	if !g.Encrypted() {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: g.protocols, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.current.Load().server, nil },
	}
}

func (g *Guard) serverConfig(m *material) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: g.protocols, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{*m.certificate},
	}
	switch {
	case m.authorities != nil && g.lenient():
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, m.authorities
	case m.authorities != nil:
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, m.authorities
	}
	return c
}

// lenient tells whether who shows no certificate may still speak: to show a token, or to ask
// for health.
func (g *Guard) lenient() bool { return g.TokenFile != "" || g.Probed }

// Dial is what to use to dial a port of the same kind: it shows the same certificate, and
// goes by names that are allowed and not by addresses, which nodes share and change.
func (g *Guard) Dial() *tls.Config {
	if !g.Encrypted() {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: g.protocols,
		InsecureSkipVerify: true, // in place of it: VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return g.judge(s.PeerCertificates, x509.ExtKeyUsageServerAuth)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return g.current.Load().certificate, nil
		},
	}
}

// Errors of callers. They tell nothing that a stranger could use.
var (
	ErrUnknown   = errors.New("the caller is not known: it shows neither a certificate nor a token that is good here")
	ErrForbidden = errors.New("the caller is known, and not allowed here")
)

// judge tells whether a chain of certificates is good here.
func (g *Guard) judge(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	m := g.current.Load()
	if m.authorities == nil || len(chain) == 0 {
		return ErrUnknown
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: m.authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return ErrUnknown
	}
	if len(g.Allow) > 0 && !slices.ContainsFunc(g.Allow, func(allowed string) bool { return names(chain[0], allowed) }) {
		return ErrForbidden
	}
	return nil
}

// names tells whether a certificate has a name that is allowed.
func names(c *x509.Certificate, allowed string) bool {
	if slices.ContainsFunc(c.DNSNames, func(name string) bool { return matches(allowed, name) }) {
		return true
	}
	for _, u := range c.URIs {
		if u.String() == allowed {
			return true
		}
	}
	return false
}
