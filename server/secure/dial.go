package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A Door says how to come to a port of others. The zero value goes in plain text.
type Door struct {
	CA        string // file in PEM: who signs the port's certificate; "": whom the system trusts
	Cert, Key string // files in PEM: the certificate to show; read at each handshake; none: none
	Name      string // the name in the port's certificate; "": the host that is dialed
	TokenFile string // the first of its lines is shown; read again as it changes
	Encrypted bool   // go encrypted also if no other field says so
}

// TLS returns what to dial with, nil for plain text. The error names the file that is wrong.
func (d Door) TLS() (*tls.Config, error) {
	if (d.Cert == "") != (d.Key == "") {
		return nil, errors.New("a certificate and its key go together: one of the two is missing")
	}
	if d.CA == "" && d.Cert == "" && d.Name == "" && !d.Encrypted {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: d.Name}
	if d.CA != "" {
		pem, err := os.ReadFile(d.CA)
		if err != nil {
			return nil, err
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", d.CA)
		}
	}
	if d.Cert != "" {
		if _, err := tls.LoadX509KeyPair(d.Cert, d.Key); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(d.Cert, d.Key)
			return &pair, err
		}
	}
	return c, nil
}

// Token returns what tells the token to show, nil if there is none. It may be called from
// many goroutines. When the file cannot be read any more, the last token stays.
func (d Door) Token() (func() string, error) {
	if d.TokenFile == "" {
		return nil, nil
	}
	token, err := firstToken(d.TokenFile)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	read := time.Now()
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(read) >= reloadEvery {
			read = now
			if newer, err := firstToken(d.TokenFile); err == nil {
				token = newer
			}
		}
		return token
	}, nil
}

func firstToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return string(line), nil
		}
	}
	return "", fmt.Errorf("%s holds no token", path)
}
