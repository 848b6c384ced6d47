//go:build browser

package browser_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// beat is how often each gateway asks.
const beat = 100 * time.Millisecond

// A gateway asks one node for the traffic of its day, which rises and falls in minutes.
type gateway struct {
	rpc    sluicev1.RateLimiterServiceClient
	random *rand.Rand
	number uint64
	beats  int
}

// begin has a node asked until the test ends.
func begin(t *testing.T, address string, number uint64) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{rpc: sluicev1.NewRateLimiterServiceClient(conn), random: rand.New(rand.NewPCG(1, number)), number: number}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-ended
		conn.Close()
	})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for ctx.Err() == nil {
			g.ask(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
}

// ask asks once. What fails does so as a node ends, and is no matter here.
func (g *gateway) ask(ctx context.Context) {
	g.beats++
	now := float64(g.beats) * beat.Seconds()
	much := 9 + 5*math.Sin(now/37+float64(g.number)) + 2*math.Sin(now/11)
	var req sluicev1.CheckBatchRequest
	for range int(much) {
		req.Checks = append(req.Checks, g.check())
	}
	if g.beats%35 == 0 {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: shown})
	}
	if g.beats%45 == 0 {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: refused})
	}
	_, _ = g.rpc.CheckBatch(ctx, &req)
	if g.beats%5 == 0 {
		_, _ = g.rpc.Acquire(ctx, &sluicev1.AcquireRequest{
			Key: fmt.Sprintf("free-%d", g.random.IntN(12)), Tier: "free", RunId: fmt.Sprintf("run-%d-%d", g.number, g.beats), TtlMs: 6_000,
		})
	}
	if g.number == 0 && g.beats%100 == 1 { // these are kept
		for _, task := range []string{"transcribe", "summarize"} {
			_, _ = g.rpc.Acquire(ctx, &sluicev1.AcquireRequest{Key: shown, RunId: "run-of-" + task, TaskId: task + "-1", TtlMs: 60_000})
		}
	}
}

// check is one of many keys of all tiers.
func (g *gateway) check() *sluicev1.CheckRequest {
	tier, keys := "enterprise", 40
	switch g.random.IntN(10) {
	case 0, 1:
		tier, keys = "free", 120
	case 2, 3, 4:
		tier, keys = "pro", 60
	}
	return &sluicev1.CheckRequest{Key: fmt.Sprintf("%s-%d", tier, int(g.random.ExpFloat64()*float64(keys)/3)), Tier: tier}
}
