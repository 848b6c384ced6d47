// Package securerpc lets a server of gRPC go by a guard of package secure.
package securerpc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/server/secure"
)

// healthService answers whoever gets so far: it tells nothing but whether the node serves.
const healthService = "/grpc.health.v1.Health/"

// ServerOptions let a server go by g: who may not ask is told so before its request is read.
// Of a port that is open to all there are none.
func ServerOptions(g *secure.Guard) []grpc.ServerOption {
	var options []grpc.ServerOption
	if g.Encrypted() || g.Authenticated() {
		options = append(options, grpc.Creds(&serverCreds{guard: g}))
	}
	if g.Authenticated() {
		options = append(options, grpc.InTapHandle(admit))
	}
	return options
}

// DialOptions let a node dial another whose port has the same files as g. There are none if
// that speaks plain text.
func DialOptions(g *secure.Guard) []grpc.DialOption {
	if !g.Encrypted() {
		return nil
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(g.Dial()))}
}

// serverCreds are the credentials of a port.
type serverCreds struct{ guard *secure.Guard }

// caller is what is known of a connection.
type caller struct {
	credentials.CommonAuthInfo
	*secure.Caller
	state *tls.ConnectionState // nil: plain text
}

// AuthType names it for grpc.
func (caller) AuthType() string { return "sluice" }

// handshakeTimeout is how long a caller may take to prove who it is.
const handshakeTimeout = 5 * time.Second

// ServerHandshake proves who the two are to each other. What was read is overwritten.
func (s *serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c := caller{Caller: s.guard.Caller(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	if !s.guard.Encrypted() {
		return raw, c, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := s.guard.Server(raw)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	state := conn.ConnectionState()
	c.state, c.SecurityLevel = &state, credentials.PrivacyAndIntegrity
	return conn, c, nil
}

var errServerOnly = errors.New("these credentials are a server's")

// ClientHandshake is not what these credentials are for.
func (s *serverCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errServerOnly
}

// Info says what they are.
func (s *serverCreds) Info() credentials.ProtocolInfo {
	if !s.guard.Encrypted() {
		return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns the same, as it does not change.
func (s *serverCreds) Clone() credentials.TransportCredentials { return s }

// OverrideServerName is for clients.
func (s *serverCreds) OverrideServerName(string) error { return errServerOnly }

// admit lets a call begin, or tells its caller why not.
func admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if strings.HasPrefix(info.FullMethodName, healthService) {
		return ctx, nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, Denial(secure.ErrUnknown)
	}
	c, ok := p.AuthInfo.(caller)
	if !ok {
		return nil, Denial(secure.ErrUnknown)
	}
	if err := c.Check(c.state, token(info.Header)); err != nil {
		return nil, Denial(err)
	}
	return ctx, nil
}

func token(md metadata.MD) string {
	if values := md["authorization"]; len(values) == 1 {
		return secure.Bearer(values[0])
	}
	return ""
}

// Denial is what a caller is told that may not ask.
func Denial(err error) error {
	code, reason := codes.Unauthenticated, contract.InvalidAPIKey
	if errors.Is(err, secure.ErrForbidden) {
		code, reason = codes.PermissionDenied, contract.Forbidden
	}
	st, e := status.New(code, err.Error()).WithDetails(&errdetails.ErrorInfo{Reason: strings.ToUpper(string(reason)), Domain: "sluice"})
	if e != nil { // only if a detail cannot be marshaled
		return status.Error(code, err.Error())
	}
	return st.Err()
}
