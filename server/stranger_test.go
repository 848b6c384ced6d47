package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cluster"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

const (
	gatewayToken  = "the token of gateways, long enough"
	operatorToken = "the token of operators, long enough"
)

// fortress is a node all of whose ports are secured, by one authority.
type fortress struct {
	*server.Node
	t         *testing.T
	authority *pkitest.Authority
	node      pkitest.Pair
	log       *logText
}

func newFortress(t *testing.T, tokens bool) *fortress {
	t.Helper()
	f := &fortress{t: t, authority: pkitest.New(t, "ours"), log: new(logText)}
	f.node = f.authority.Issue("node.sluice.test")
	port := secure.Port{Cert: f.node.Cert, Key: f.node.Key, CA: f.authority.File}
	grpcPort, httpPort, peerPort, adminPort := port, port, port, port
	grpcPort.Allow, httpPort.Allow = []string{"spiffe://test/gateway"}, []string{"spiffe://test/gateway"}
	peerPort.Allow, adminPort.Allow = []string{"*.sluice.test"}, []string{"operator.test"}
	if tokens {
		dir := t.TempDir()
		grpcPort.TokenFile = pkitest.Write(t, filepath.Join(dir, "gateways"), []byte(gatewayToken+"\n"))
		adminPort.TokenFile = pkitest.Write(t, filepath.Join(dir, "operators"), []byte(operatorToken+"\n"))
	}
	node, err := server.Start(server.Config{
		GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", MaxKeys: 1000, Secret: []byte("the secret of these tests"),
		Log:     f.log.logger(),
		Cluster: &cluster.Config{Name: "a", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0"},
		Ports:   server.Ports{GRPC: grpcPort, HTTP: httpPort, Peer: peerPort, Admin: adminPort},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Node = node
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := node.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return f
}

// credentials of a caller.
type credential struct {
	tls   *tls.Config // nil: plain text
	token string
}

func (c credential) dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if c.tls != nil {
		creds = credentials.NewTLS(c.tls)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if c.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(client.Token(func() string { return c.token })))
	}
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// get asks by HTTP, and returns the status and the body; 0 if there was no answer.
func (c credential) get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c.tls}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if c.tls != nil {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", scheme+"://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "k")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// ask asks the gRPC services of all ports, and returns what came of it.
func (f *fortress) ask(c credential) (gateways, peers, operators error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	_, gateways = sluicev1.NewRateLimiterServiceClient(c.dial(f.t, f.Addr())).Check(ctx, &sluicev1.CheckRequest{Key: "k"})
	stream, peers := peerv1.NewPeerServiceClient(c.dial(f.t, f.Cluster().PeerAddr())).Frames(ctx, &peerv1.FramesRequest{})
	if peers == nil {
		_, peers = stream.Recv()
	}
	_, operators = adminv1.NewAdminServiceClient(c.dial(f.t, f.AdminAddr())).Members(ctx, &adminv1.MembersRequest{})
	return gateways, peers, operators
}

// shut tells whether an error is that of a caller who got in nowhere.
func shut(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable: // the handshake failed: no handler of ours said that
		return reasonOf(err) == ""
	case codes.Unauthenticated:
		return reasonOf(err) == "INVALID_API_KEY"
	case codes.PermissionDenied:
		return reasonOf(err) == "FORBIDDEN"
	}
	return false
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "sluice" {
			return info.GetReason()
		}
	}
	return ""
}

// A stranger gets in nowhere, whatever it shows, and whether there are tokens too or not.
func TestStrangersGetInNowhere(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		f := newFortress(t, tokens)
		theirs := pkitest.New(t, "theirs")
		wrong := theirs.Issue("spiffe://test/gateway", "node.sluice.test", "operator.test")
		expired := f.authority.IssueUntil(-time.Hour, "spiffe://test/gateway", "node.sluice.test", "operator.test")
		nobody := f.authority.Issue("somebody.else.test")
		for who, c := range map[string]credential{
			"plain text":          {},
			"plain text, a token": {token: gatewayToken},
			"no certificate":      {tls: f.authority.Client(nil)},
			"a wrong token":       {tls: f.authority.Client(nil), token: "a token that nobody ever gave out"},
			"a wrong authority":   {tls: f.authority.Client(&wrong)},
			"an expired one":      {tls: f.authority.Client(&expired)},
			"a name not allowed":  {tls: f.authority.Client(&nobody)},
		} {
			gateways, peers, operators := f.ask(c)
			for port, err := range map[string]error{"grpc": gateways, "peer": peers, "admin": operators} {
				if !shut(err) {
					t.Errorf("tokens %v, %s, at %s: %v", tokens, who, port, err)
				}
			}
			for port, at := range map[string][2]string{"http": {f.HTTPAddr(), "/v1/auth"}, "metrics": {f.AdminAddr(), "/metrics"}, "pprof": {f.AdminAddr(), "/debug/pprof/"}} {
				if code, body := c.get(t, at[0], at[1]); code != 0 && code != 400 && code != 401 && code != 403 {
					t.Errorf("tokens %v, %s, at %s: %d %s", tokens, who, port, code, body)
				}
			}
		}
		// What it is told says what is wrong, by the contract.
		_, _, operators := f.ask(credential{tls: f.authority.Client(&nobody)})
		if status.Code(operators) != codes.PermissionDenied || reasonOf(operators) != "FORBIDDEN" {
			t.Errorf("a name that is not allowed is told %v", operators)
		}
		if code, body := (credential{tls: f.authority.Client(nil)}).get(t, f.AdminAddr(), "/metrics"); code != 401 || !strings.Contains(body, `"error":"invalid_api_key"`) {
			t.Errorf("nobody is told %d %s", code, body)
		}
	}
}

// Who may come to one port may come to that one only.
func TestEachPortHasItsOwnCallers(t *testing.T) {
	f := newFortress(t, true)
	gateway, node, operator := f.authority.Issue("spiffe://test/gateway"), f.authority.Issue("b.sluice.test"), f.authority.Issue("operator.test")
	const (
		grpcPort = 1 << iota
		peerPort
		adminPort
	)
	for who, c := range map[string]struct {
		credential
		opens int
	}{
		"a gateway":            {credential{tls: f.authority.Client(&gateway)}, grpcPort},
		"a node":               {credential{tls: f.authority.Client(&node)}, peerPort},
		"an operator":          {credential{tls: f.authority.Client(&operator)}, adminPort},
		"a gateway's token":    {credential{tls: f.authority.Client(nil), token: gatewayToken}, grpcPort},
		"an operator's token":  {credential{tls: f.authority.Client(nil), token: operatorToken}, adminPort},
		"a node with a token":  {credential{tls: f.authority.Client(&node), token: gatewayToken}, peerPort | grpcPort},
		"an operator's, plain": {credential{token: operatorToken}, 0},
	} {
		gateways, peers, operators := f.ask(c.credential)
		if open := gateways == nil; open != (c.opens&grpcPort != 0) || !open && !shut(gateways) {
			t.Errorf("%s, at grpc: %v", who, gateways)
		}
		if open := status.Code(peers) == codes.InvalidArgument || status.Code(peers) == codes.FailedPrecondition; open != (c.opens&peerPort != 0) || !open && !shut(peers) {
			t.Errorf("%s, at peer: %v", who, peers) // who gets in is missed a hello of
		}
		if open := operators == nil; open != (c.opens&adminPort != 0) || !open && !shut(operators) {
			t.Errorf("%s, at admin: %v", who, operators)
		}
	}
	ours := credential{tls: f.authority.Client(&gateway)}
	if code, _ := ours.get(t, f.HTTPAddr(), "/v1/auth"); code != http.StatusOK {
		t.Errorf("a gateway, at http: %d", code)
	}
	health := healthgrpc.NewHealthClient(credential{tls: f.authority.Client(nil)}.dial(t, f.Addr()))
	if _, err := health.Check(t.Context(), new(healthgrpc.HealthCheckRequest)); err != nil {
		t.Errorf("health, for anybody where tokens are good: %v", err)
	}
}

// Operators' and nodes' services are not on the gateways' port.
func TestServicesAreOnTheirPortOnly(t *testing.T) {
	c := newNodes(t)
	m := c.start("a", func(config *server.Config) { config.Admin = "127.0.0.1:0" })
	if _, err := adminv1.NewAdminServiceClient(m.conn).Members(t.Context(), new(adminv1.MembersRequest)); status.Code(err) != codes.Unimplemented {
		t.Errorf("operators' on the gateways' port: %v", err)
	}
	stream, err := peerv1.NewPeerServiceClient(m.conn).Frames(t.Context(), new(peerv1.FramesRequest))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("nodes' on the gateways' port: %v", err)
	}
	if _, err := sluicev1.NewRateLimiterServiceClient(credential{}.dial(t, m.AdminAddr())).Check(t.Context(), &sluicev1.CheckRequest{Key: "k"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("gateways' on the operators' port: %v", err)
	}
}

// A cluster whose nodes know each other by certificates counts as one; who has none stays out.
func TestClusterOverTLS(t *testing.T) {
	authority := pkitest.New(t, "nodes")
	c := newNodes(t)
	secured := func(a *pkitest.Authority, name string) func(*server.Config) {
		pair := a.Issue(name)
		return func(config *server.Config) {
			config.Ports.Peer = secure.Port{Cert: pair.Cert, Key: pair.Key, CA: a.File, Allow: []string{"*.nodes.test"}}
		}
	}
	c.start("a", secured(authority, "a.nodes.test"))
	c.start("b", secured(authority, "b.nodes.test"))
	c.start("c", secured(authority, "c.nodes.test"))
	for n := 1; n <= 3; n++ {
		for i := range 60 {
			if d := c.any(i+n).check(t, key(i)); !d.Allowed || int(d.Remaining) != 10-n {
				t.Fatalf("%s: %v", key(i), d)
			}
		}
	}
	c.stop("a")
	for i := range 60 {
		if d := c.any(i).check(t, key(i)); !d.Allowed || d.Remaining != 6 {
			t.Fatalf("%s, after a node has left: %v", key(i), d)
		}
	}
}

// Certificates are replaced under load, by links and by files, and no call fails.
func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	f := newFortress(t, false)
	gateway := f.authority.Issue("spiffe://test/gateway")
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	calls := 0
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			conn := credential{tls: f.authority.Client(&gateway)}.dialNow(f.Addr())
			rpc := sluicev1.NewRateLimiterServiceClient(conn)
			for range 5 {
				calls++
				if _, err := rpc.Check(context.Background(), &sluicev1.CheckRequest{Key: "k"}); err != nil {
					failed <- err
					break
				}
			}
			_ = conn.Close()
		}
	}()
	first := f.shown(gateway)
	pkitest.Write(t, f.node.Cert, []byte("no certificate"))
	f.log.await(t, "old ones stay")
	f.authority.IssueTo(f.node, time.Hour, "node.sluice.test")
	for end := time.Now().Add(20 * time.Second); bytes.Equal(f.shown(gateway), first); {
		if time.Now().After(end) {
			t.Fatal("the new certificate was not shown")
		}
	}
	stop()
	if err := <-failed; err != nil {
		t.Errorf("after %d calls: %v", calls, err)
	}
	if calls == 0 {
		t.Error("there was no load")
	}
}

func (c credential) dialNow(address string) *grpc.ClientConn {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(c.tls)))
	if err != nil {
		panic(err) // only for an address that cannot be parsed
	}
	return conn
}

// shown returns the certificate that the gateways' port shows.
func (f *fortress) shown(p pkitest.Pair) []byte {
	f.t.Helper()
	config := f.authority.Client(&p)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", f.Addr(), config)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

// await waits until the log says what.
func (l *logText) await(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(l.String(), what); {
		if time.Now().After(end) {
			t.Fatalf("the log does not say %q: %s", what, l.String())
		}
		<-time.After(10 * time.Millisecond)
	}
}
