package secure

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
)

// material is what the files of a port held at one time. It does not change.
type material struct {
	raw         [4][]byte // the files, in the order of Port.files
	certificate *tls.Certificate
	authorities *x509.CertPool
	roots       []*x509.Certificate // those in authorities
	tokens      [][sha256.Size]byte
	server      *tls.Config
}

// MinToken is the least length of a token, in bytes.
const MinToken = 16

func (p *Port) files() [4]string { return [4]string{p.Cert, p.Key, p.CA, p.TokenFile} }

// read reads the files of a port.
func (p *Port) read() (raw [4][]byte, err error) {
	for i, path := range p.files() {
		if path == "" {
			continue
		}
		if raw[i], err = os.ReadFile(path); err != nil {
			return raw, err
		}
	}
	return raw, nil
}

// same tells whether the files are as they were.
func (m *material) same(raw [4][]byte) bool {
	for i := range raw {
		if !bytes.Equal(m.raw[i], raw[i]) {
			return false
		}
	}
	return true
}

// parse makes sense of the files. An error names the file.
func (p *Port) parse(raw [4][]byte) (*material, error) {
	m := &material{raw: raw}
	if p.Cert != "" {
		pair, err := tls.X509KeyPair(raw[0], raw[1])
		if err != nil {
			return nil, fmt.Errorf("%s with %s: %w", p.Cert, p.Key, err)
		}
		m.certificate = &pair
	}
	if p.CA != "" {
		if m.roots = parseRoots(raw[2]); len(m.roots) == 0 {
			return nil, fmt.Errorf("%s holds no certificate in PEM", p.CA)
		}
		m.authorities = x509.NewCertPool()
		for _, c := range m.roots {
			m.authorities.AddCert(c)
		}
	}
	if p.TokenFile != "" {
		var err error
		if m.tokens, err = parseTokens(raw[3]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.TokenFile, err)
		}
	}
	return m, nil
}

// parseRoots reads the certificates of authorities in PEM. What is anything else is passed over, as
// [x509.CertPool.AppendCertsFromPEM] does.
func parseRoots(b []byte) (roots []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return roots
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			roots = append(roots, c)
		}
	}
}

// admits tells whether callers that an authority of other signs may be among those of m: it is one of
// m's, if renewed with its key, or signed by one, as callers may bring certificates in between.
func (m *material) admits(other *material) bool {
	return slices.ContainsFunc(other.roots, func(o *x509.Certificate) bool {
		known := slices.ContainsFunc(m.roots, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubjectPublicKeyInfo, o.RawSubjectPublicKeyInfo)
		})
		return known || m.authorities != nil && m.signed(o)
	})
}

// signed tells whether an authority of m's has signed a certificate, be it through others.
func (m *material) signed(c *x509.Certificate) bool {
	between := x509.NewCertPool()
	for _, root := range m.roots {
		between.AddCert(root)
	}
	_, err := c.Verify(x509.VerifyOptions{Roots: m.authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// parseTokens reads tokens, one a line. Empty lines, and what begins with #, are passed over.
func parseTokens(b []byte) (tokens [][sha256.Size]byte, err error) {
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < MinToken {
			return nil, fmt.Errorf("line %d: a token has at least %d bytes; make one with: openssl rand -hex 32", i+1, MinToken)
		}
		tokens = append(tokens, sha256.Sum256(line))
	}
	if len(tokens) == 0 {
		return nil, errors.New("holds no token; make one with: openssl rand -hex 32")
	}
	return tokens, nil
}

// knows tells whether a token is one of ours.
func (m *material) knows(token string) bool {
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range m.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], m.tokens[i][:])
	}
	return found == 1
}
