package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin/statusz"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/securehttp"
)

// Bounds on what one client can make the node hold.
const (
	maxMessage = 64 << 10 // bytes of a request
	maxStreams = 64       // concurrent calls of one connection
	maxHeader  = 16 << 10 // bytes of a request's header

	bodyTime = 10 * time.Second // for the body of a request that is not gRPC
)

// Config says what a Server serves. All fields up to Log are required.
type Config struct {
	Node       string // the name of the node that answers
	Partitions int    // of the cluster
	Cluster    Cluster
	Hasher     limiter.Hasher
	Policy     *policy.Policy // at first: see SetPolicy
	Log        *slog.Logger
	Metrics    http.Handler  // what Prometheus collects from; nil: there is nothing
	Page       *statusz.Node // what the page of the node shows of it; nil: there is no page
	NotReady   func() string // why no calls should be sent to the node; "": they should. nil: always ""
	Guard      *secure.Guard // who may come; nil: everybody
}

// A Server serves operators on one port: gRPC, with reflection, and HTTP.
type Server struct {
	service  *service
	grpc     *grpc.Server
	http     *http.Server
	draining context.Context // ends when the server shuts down
	drain    context.CancelFunc
}

// NewServer returns a Server that is ready to serve.
func NewServer(c Config) *Server {
	s := new(Server)
	s.draining, s.drain = context.WithCancel(context.Background())
	guard := guard{log: c.Log}
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.UnaryInterceptor(guard.unary), grpc.StreamInterceptor(s.endStream))
	s.service = &service{node: c.Node, partitions: c.Partitions, cluster: c.Cluster, hasher: c.Hasher, log: c.Log}
	s.SetPolicy(c.Policy)
	adminv1.RegisterAdminServiceServer(s.grpc, s.service)
	reflection.Register(s.grpc)
	s.http = &http.Server{
		Handler: s.either(s.pages(&c, guard)), Protocols: new(http.Protocols), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: time.Minute, PingTimeout: 20 * time.Second},
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), // what callers do wrong
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	securehttp.Protect(s.http, c.Guard, "/livez", "/readyz")
	s.http.Handler = timely(s.http.Handler)
	return s
}

// SetPolicy has keys resolved by p from now on.
func (s *Server) SetPolicy(p *policy.Policy) { s.service.policy.Store(p) }

// Serve accepts connections until the Server is shut down. It returns nil then.
func (s *Server) Serve(lis net.Listener) error {
	return securehttp.Serve(s.http, lis)
}

// endStream ends the streams, which are those of reflection, when the server shuts down.
// Otherwise a tool that keeps one open would hold up every shutdown until its deadline.
func (s *Server) endStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ended := make(chan error, 1)
	go func() { ended <- handle(srv, stream) }()
	select {
	case err := <-ended:
		return err
	case <-s.draining.Done():
		return unavailable("the node is shutting down")
	}
}

// Shutdown ends the server: calls under way are answered, no new ones begin. When ctx ends
// first, what is left is cut off, and its error is returned. A second call waits for the
// same end.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	s.grpc.Stop()
	return err
}

// service answers calls. Each handler is a method of its own file.
type service struct {
	adminv1.UnimplementedAdminServiceServer
	node       string
	partitions int
	cluster    Cluster
	hasher     limiter.Hasher
	policy     atomic.Pointer[policy.Policy]
	log        *slog.Logger
}
