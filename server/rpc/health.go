package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// healthServer is grpc's, but a watch ends when it has told that the node does not serve.
// Otherwise whoever watches would hold up every shutdown until its deadline.
type healthServer struct{ *health.Server }

// Watch tells the health until it is anything but good.
func (s healthServer) Watch(req *healthgrpc.HealthCheckRequest, stream grpc.ServerStreamingServer[healthgrpc.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	return s.Server.Watch(req, &healthWatch{stream, ctx, cancel})
}

// endReflection ends the streams of the reflection service when the server shuts down, for
// the same reason.
func (s *service) endReflection(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/grpc.reflection.") {
		return handle(srv, stream)
	}
	ended := make(chan error, 1)
	go func() { ended <- handle(srv, stream) }()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		return unavailable("the node is shutting down")
	}
}

type healthWatch struct {
	grpc.ServerStreamingServer[healthgrpc.HealthCheckResponse]
	ctx context.Context
	end func()
}

func (w *healthWatch) Context() context.Context { return w.ctx }

func (w *healthWatch) Send(resp *healthgrpc.HealthCheckResponse) error {
	err := w.ServerStreamingServer.Send(resp)
	if resp.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		w.end()
	}
	return err
}
