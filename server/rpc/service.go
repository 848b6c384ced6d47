package rpc

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// A Clock tells the time of the node: now for decisions, on a monotonic clock, and wall
// for what people read.
type Clock func() (now limiter.Instant, wall time.Time)

// origin is where clocks begin: so far above zero that whatever counts when a node starts
// has an instant on its clock.
const origin = limiter.Instant(3 * limiter.MaxPer)

// NewClock returns a clock that begins now.
func NewClock() Clock {
	start := time.Now()
	return func() (limiter.Instant, time.Time) {
		wall := time.Now()
		return origin.Add(wall.Sub(start)), wall
	}
}

// service decides calls. Each handler is a method of its own file.
type service struct {
	table  *limiter.Table
	hasher limiter.Hasher
	sealer *limiter.Sealer
	clock  Clock
	log    *slog.Logger

	metrics *metrics.Metrics
	rules   atomic.Pointer[rules]
	shadows shadows
	tracer  Tracer // nil: nothing is traced

	cluster Cluster // nil: this node is the only one
	strict  bool    // the cluster's

	draining chan struct{} // closed when the server shuts down
	drainOne sync.Once
}

// drain ends all streams once their batch under way is answered.
func (s *service) drain() { s.drainOne.Do(func() { close(s.draining) }) }

// describe returns the service's description for grpc: the generated one, with handlers
// of ours.
func describe() *grpc.ServiceDesc {
	d := sluicev1.RateLimiterService_ServiceDesc
	d.HandlerType = (*any)(nil)
	d.Methods = []grpc.MethodDesc{
		unary(metrics.Check, (*service).check),
		unary(metrics.CheckBatch, (*service).checkBatch),
		unary(metrics.Acquire, onMessage((*service).acquire)),
		unary(metrics.Renew, onMessage((*service).renew)),
		unary(metrics.Release, onMessage((*service).release)),
	}
	d.Streams = []grpc.StreamDesc{{
		StreamName: metrics.CheckStream.String(), Handler: checkStream, ServerStreams: true, ClientStreams: true,
	}}
	return &d
}
