// Package secure encrypts a port and lets only some callers in, by certificates in files that may
// change while they are used. It knows files and TLS, and nothing of what is served.
//
// TLS is 1.3. Who is at the other end is settled once for each connection: a call costs nothing.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// Files say where an identity is, in PEM, and whom it trusts.
type Files struct {
	Cert, Key string // the certificate, with those between it and its CA, and its private key
	CA        string // certificates of those who vouch for the other end; "": see Server and Client
	// Allow has the DNS names and URIs of which the other end's certificate must have one. Empty:
	// whatever CA vouches for.
	Allow []string
}

// Enabled tells whether there is anything to encrypt with.
func (f *Files) Enabled() bool { return f.Cert != "" || f.Key != "" || f.CA != "" || len(f.Allow) > 0 }

// An Identity is what the files held when they were read last without fault.
type Identity struct {
	files Files
	log   *slog.Logger
	now   atomic.Pointer[material]
	seen  []stamp // of the files, at the last look
}

type material struct {
	cert *tls.Certificate
	ca   *x509.CertPool // nil: none
}

// stamp tells one state of a file from others.
type stamp struct {
	size int64
	time time.Time
}

// Load reads the files. The error names the one at fault.
func Load(f Files, log *slog.Logger) (*Identity, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("a certificate and its key are required")
	}
	if len(f.Allow) > 0 && f.CA == "" {
		return nil, errors.New("names to allow need a CA that vouches for them")
	}
	i := &Identity{files: f, log: log, seen: stamps(&f)}
	m, err := read(&f)
	if err != nil {
		return nil, err
	}
	i.now.Store(m)
	return i, nil
}

func read(f *Files) (*material, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", f.Cert, f.Key, err)
	}
	m := &material{cert: &cert}
	if f.CA != "" {
		if m.ca, err = ReadCA(f.CA); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ReadCA reads the certificates of a CA.
func ReadCA(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

func stamps(f *Files) (all []stamp) {
	for _, path := range []string{f.Cert, f.Key, f.CA} {
		var s stamp
		if info, err := os.Stat(path); err == nil {
			s = stamp{info.Size(), info.ModTime()}
		}
		all = append(all, s)
	}
	return all
}

// Look reads the files again if one of them, or what a link leads to, has changed since the last
// Look. If they are not good, all stays as it is, and the log says why. It is for one goroutine.
func (i *Identity) Look() {
	seen := stamps(&i.files)
	if slices.Equal(seen, i.seen) {
		return
	}
	i.seen = seen
	m, err := read(&i.files)
	if err != nil {
		i.log.Error("the certificate stays as it was", "error", err)
		return
	}
	i.now.Store(m)
	i.log.Info("certificate read", "file", i.files.Cert, "until", m.cert.Leaf.NotAfter)
}

// Server returns what a port serves with. With a CA callers must show a certificate of it, and one
// of the allowed names; without, anybody may call.
func (i *Identity) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := i.now.Load()
		c := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*m.cert}, NextProtos: []string{"h2", "http/1.1"}}
		if m.ca != nil {
			c.ClientAuth, c.ClientCAs, c.VerifyConnection = tls.RequireAndVerifyClientCert, m.ca, i.allowed
			// A session that is resumed was verified by what was trusted then.
			c.SessionTicketsDisabled = true
		}
		return c, nil
	}}
}

// Client returns what to call one's like with: whoever has a certificate of the CA, and one of the
// allowed names, whatever its address. There must be a CA.
func (i *Identity) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.now.Load().cert, nil },
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection verifies, but not the address: nodes' change
		VerifyConnection: func(s tls.ConnectionState) error {
			m := i.now.Load()
			if m.ca == nil || len(s.PeerCertificates) == 0 {
				return errors.New("there is nobody to vouch for the other end")
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: m.ca, Intermediates: between}); err != nil {
				return err
			}
			return i.allowed(s)
		},
	}
}

// allowed tells whether the other end has one of the names that it must have.
func (i *Identity) allowed(s tls.ConnectionState) error {
	if len(i.files.Allow) == 0 {
		return nil
	}
	cert := s.PeerCertificates[0]
	for _, name := range cert.DNSNames {
		if slices.Contains(i.files.Allow, name) {
			return nil
		}
	}
	for _, uri := range cert.URIs {
		if slices.Contains(i.files.Allow, uri.String()) {
			return nil
		}
	}
	return errors.New("the certificate has none of the names that are allowed")
}
