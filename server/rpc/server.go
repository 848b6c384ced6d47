package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// Bounds on what one client can make the node hold.
const (
	maxMessage    = 8 << 20 // bytes; a batch of 100,000 checks with keys of 60 bytes fits
	workers       = 64      // goroutines that serve calls one after another; more calls at a time have their own
	maxStreams    = 512     // concurrent calls of one connection
	maxHeaderList = 16 << 10
)

// Config says what a Server serves. All fields up to Log are required.
type Config struct {
	Table   *limiter.Table
	Hasher  limiter.Hasher
	Sealer  *limiter.Sealer
	Policy  *policy.Policy // at first: see SetPolicy
	Clock   Clock
	Log     *slog.Logger
	Metrics *metrics.Metrics    // counts what it does; nil: nobody asks
	Tracer  Tracer              // makes spans of calls that their callers trace; nil: nothing is traced
	Options []grpc.ServerOption // further ones, such as credentials; interceptors are not run; may be nil

	Cluster  Cluster  // decides what this node does not; nil: the table is this node's alone
	Topology Topology // what ring-aware clients are told; nil: they are not served
}

// A Server serves the rate limiter, health and reflection on one port.
type Server struct {
	grpc    *grpc.Server
	health  *health.Server
	service *service
	open    connections
}

// NewServer returns a Server that is ready to serve.
func NewServer(c Config) *Server {
	service := newService(&c)
	options := append(Options(), grpc.StreamInterceptor(service.endReflection))
	s := &Server{grpc: grpc.NewServer(append(options, c.Options...)...), health: health.NewServer(), service: service}
	s.grpc.RegisterService(describe(), s.service)
	healthgrpc.RegisterHealthServer(s.grpc, healthServer{s.health})
	if c.Topology != nil {
		sluicev1.RegisterTopologyServiceServer(s.grpc, &topologyServer{
			topology: c.Topology, routingKey: c.Hasher.RoutingKey(), draining: service.draining, log: c.Log,
		})
	}
	reflection.Register(s.grpc)
	s.SetServing(c.Cluster == nil)
	return s
}

func newService(c *Config) *service {
	s := &service{
		table: c.Table, hasher: c.Hasher, sealer: c.Sealer, clock: c.Clock, log: c.Log, metrics: c.Metrics, tracer: c.Tracer,
		cluster: c.Cluster, strict: c.Cluster != nil && c.Cluster.Strict(),
		draining: make(chan struct{}),
	}
	if s.metrics == nil {
		s.metrics = metrics.New()
	}
	s.rules.Store(newRules(c.Policy, c.Sealer, s.metrics, nil))
	return s
}

// RegisterService adds a service of another face, before Serve.
func (s *Server) RegisterService(of *grpc.ServiceDesc, impl any) { s.grpc.RegisterService(of, impl) }

// SetServing tells those who ask for the server's health whether it serves: calls are
// answered as well as can be in either case. Alone it serves from the start.
func (s *Server) SetServing(serving bool) {
	status := healthgrpc.HealthCheckResponse_NOT_SERVING
	if serving {
		status = healthgrpc.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(sluicev1.RateLimiterService_ServiceDesc.ServiceName, status)
}

// Options returns the options that every gRPC server of ours has: bounds, keep-alive and
// the codec. A benchmark serves its yardstick with the same.
func Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.ReadBufferSize(0), // connections buffer by themselves: see fairConn
		grpc.NumStreamWorkers(workers),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
}

// Listen wraps a listener for a server with Options.
func Listen(lis net.Listener) net.Listener {
	return fairListener{lis, new(atomic.Int64), new(connections)}
}

// Serve accepts connections until the Server is shut down. It returns nil then.
func (s *Server) Serve(lis net.Listener) error {
	err := s.grpc.Serve(fairListener{lis, new(atomic.Int64), &s.open})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown ends the server: its health says NOT_SERVING, calls and batches under way
// are answered, no new ones begin. Clients that do not take their answers are not waited
// for. When ctx ends first, what is left is cut off, and its
// error is returned. A second call waits for the same end.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.Shutdown()
	s.service.drain()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	go func() {
		if n := s.open.closeStuck(done); n > 0 {
			s.service.log.Warn("clients that took no answers were cut off", "connections", n)
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}
