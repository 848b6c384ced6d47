package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/secure"
)

// authority is a CA.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "a CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

// sign completes a certificate; the first is its own.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	c.NotBefore = time.Now().Add(-2 * time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// issue returns a certificate of that name for both ends, good until then.
func (a *authority) issue(name string, until time.Time) tls.Certificate {
	cert, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// write puts a new certificate of that name, and the CA's, into a folder.
func (a *authority) write(folder, name string) secure.Files {
	a.t.Helper()
	c := a.issue(name, time.Now().Add(time.Hour))
	key, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		a.t.Fatal(err)
	}
	f := secure.Files{Cert: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem"), CA: filepath.Join(folder, "ca.pem")}
	for path, block := range map[string]*pem.Block{
		f.Cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, f.Key: {Type: "EC PRIVATE KEY", Bytes: key},
		f.CA: {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return f
}

// dialer is what a caller has: nil certs is none, nil is no TLS.
func (a *authority) dialer(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: certs}
}

func credentialsOf(c *tls.Config) credentials.TransportCredentials {
	if c == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(c)
}

// ports are the ways to call a secured node; each tries one and returns how that failed.
func ports(m *member) map[string]func(t *testing.T, with *tls.Config) error {
	call := func(addr string, do func(context.Context, grpc.ClientConnInterface) error) func(*testing.T, *tls.Config) error {
		return func(t *testing.T, with *tls.Config) error {
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentialsOf(with)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return do(ctx, conn)
		}
	}
	return map[string]func(*testing.T, *tls.Config) error{
		"gateway": call(m.Addr(), func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := sluicev1.NewRateLimiterServiceClient(c).Check(ctx, &sluicev1.CheckRequest{Key: "a", Tier: "ten"})
			return err
		}),
		"admin": call(m.AdminAddr(), func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := adminv1.NewAdminServiceClient(c).Members(ctx, &adminv1.MembersRequest{})
			return err
		}),
		"peer": call(m.Cluster().PeerAddr(), func(ctx context.Context, c grpc.ClientConnInterface) error {
			_, err := peerv1.NewPeerServiceClient(c).Status(ctx, &peerv1.StatusRequest{})
			return err
		}),
		"http": func(t *testing.T, with *tls.Config) error {
			url := "https://" + m.HTTPAddr()
			if with == nil {
				url = "http://" + m.HTTPAddr()
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: with, DisableKeepAlives: true}, Timeout: 5 * time.Second}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/auth", nil)
			req.Header.Set("X-Api-Key", "a")
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode == 400 { // net/http's word for plain text on a TLS port, and a missing tier's
				return status.Error(codes.Unavailable, resp.Status)
			}
			return nil
		},
	}
}

// Each port lets in whom it is for, and no stranger.
func TestStrangersGetInNowhere(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	secured := func(c *server.Config) {
		c.Admin, c.HTTP = "127.0.0.1:0", "127.0.0.1:0"
		c.TLS = ca.write(t.TempDir(), "node")
		c.PeerTLS, c.AdminTLS = c.TLS, c.TLS
		c.TLS.Allow, c.PeerTLS.Allow, c.AdminTLS.Allow = []string{"gateway"}, []string{"node"}, []string{"admin"}
	}
	c := newNodes(t)
	c.start("a", secured)
	b := c.start("b", secured) // so they let each other in
	soon := time.Now().Add(time.Hour)
	names := map[string]string{"gateway": "gateway", "http": "gateway", "admin": "admin", "peer": "node"}
	all := ports(b)
	for port, try := range all {
		if err := try(t, ca.dialer(ca.issue(names[port], soon))); notLetIn(err) {
			t.Errorf("%s: who may was not let in: %v", port, err)
		}
		strangers := map[string]*tls.Config{
			"no certificate":           ca.dialer(),
			"of another CA":            ca.dialer(other.issue(names[port], soon)),
			"expired":                  ca.dialer(ca.issue(names[port], time.Now().Add(-time.Hour))),
			"of another name":          ca.dialer(ca.issue("stranger", soon)),
			"plain text":               nil,
			"an old version of TLS":    ca.dialer(ca.issue(names[port], soon)),
			"a gateway or an operator": ca.dialer(ca.issue(map[string]string{"gateway": "admin", "http": "node", "admin": "gateway", "peer": "gateway"}[port], soon)),
		}
		strangers["an old version of TLS"].MaxVersion = tls.VersionTLS12
		for who, with := range strangers {
			if err := try(t, with); !notLetIn(err) {
				t.Errorf("%s: %s was let in: %v", port, who, err)
			}
		}
	}
}

// notLetIn tells whether an error is that of a connection, and not of a call that was served.
func notLetIn(err error) bool {
	if err == nil {
		return false
	}
	st, ok := status.FromError(err)
	return !ok || st.Code() == codes.Unavailable || st.Code() == codes.DeadlineExceeded
}

// Certificates change while calls go on: none fails, and new connections see the new one.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	folder := t.TempDir()
	c := newNodes(t)
	m := c.start("a", func(c *server.Config) { c.TLS = ca.write(folder, "first") })
	gateway := ca.dialer(ca.issue("gateway", time.Now().Add(time.Hour)))
	shown := func() string {
		conn, err := tls.Dial("tcp", m.Addr(), gateway)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := shown(); got != "first" {
		t.Errorf("shows %q", got)
	}
	if err := os.WriteFile(filepath.Join(folder, "cert.pem"), []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	try := ports(m)["gateway"]
	for range 20 {
		if err := try(t, gateway); err != nil {
			t.Errorf("with a file that is broken: %v", err)
		}
	}
	ca.write(folder, "second")
	c.eventually(10*time.Second, "the new certificate is shown", func() bool {
		if err := try(t, gateway); err != nil {
			t.Errorf("while certificates change: %v", err)
		}
		return shown() == "second"
	})
}
