package rpc

import (
	"context"

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
