package client_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/overten/sluice/client"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// BenchmarkCheck asks from 256 goroutines over loopback, once with a call for each
// check (as a request id has it) and once by shared streams. The server decides
// nothing: it is the cost of asking that is measured, of both sides.
func BenchmarkCheck(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	sluicev1.RegisterRateLimiterServiceServer(srv, yes{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(listener) })
	b.Cleanup(func() { srv.Stop(); serving.Wait() })

	c, err := client.New(listener.Addr().String(), client.WithTimeout(10*time.Second),
		client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	keys := make([]string, 3000)
	for i := range keys {
		keys[i] = "sk_live_" + strconv.Itoa(i)
	}
	for _, bb := range []struct {
		name string
		ctx  context.Context
	}{
		{"unary", client.WithRequestID(context.Background(), "bench")},
		{"coalesced", context.Background()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			const callers = 256
			ctx, cancel := context.WithCancel(bb.ctx) // as a gateway's requests have it
			defer cancel()
			b.ReportAllocs()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for n := i; n < b.N; n += callers {
						d, err := c.Check(ctx, client.CheckRequest{Key: keys[n%len(keys)], Tier: "pro"})
						if err != nil || !d.Allowed {
							b.Error(d, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
		})
	}
}

// yes is a limiter that allows everything, as fast as it can.
type yes struct {
	sluicev1.UnimplementedRateLimiterServiceServer
}

var allowed = &sluicev1.Decision{
	Allowed: true, Limit: 60, Remaining: 12, ResetUnix: 1_790_000_000, ResetAfterMs: 34_567,
	Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
}

func (yes) Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	return &sluicev1.CheckResponse{Decision: allowed}, nil
}

func (yes) CheckStream(stream grpc.BidiStreamingServer[sluicev1.CheckStreamRequest, sluicev1.CheckStreamResponse]) error {
	result := &sluicev1.CheckResult{Result: &sluicev1.CheckResult_Decision{Decision: allowed}}
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		res := &sluicev1.CheckStreamResponse{Sequence: req.GetSequence()}
		for range req.GetChecks() {
			res.Results = append(res.Results, result)
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}
