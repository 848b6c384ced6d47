package main

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/fleet"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A probe asks a node to which nothing happens, again and again, how a sample of keys
// stands, without counting anything, and notes when it was not told of all of them.
type probe struct {
	log    *audit.Log
	fleet  *fleet.Fleet
	checks []*sluicev1.CheckRequest

	conns map[*fleet.Node]*grpc.ClientConn
	asked *fleet.Node // last
	seen  []sighting
}

// A sighting is one answer about the sample.
type sighting struct {
	began, ended time.Duration
	complete     bool
}

const (
	probeEvery = 40 * time.Millisecond
	probeWaits = 200 * time.Millisecond
)

func newProbe(log *audit.Log, f *fleet.Fleet, names []string) *probe {
	p := &probe{log: log, fleet: f, conns: map[*fleet.Node]*grpc.ClientConn{}}
	for _, name := range names {
		p.checks = append(p.checks, &sluicev1.CheckRequest{Key: name, Cost: new(uint32)})
	}
	return p
}

// run asks until ctx ends.
func (p *probe) run(ctx context.Context) error {
	defer func() {
		for _, c := range p.conns {
			_ = c.Close()
		}
	}()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		if err := p.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look asks once. An answer that a node gave while something was done to it says nothing.
func (p *probe) look(ctx context.Context) error {
	if p.asked == nil || !p.asked.Answers() {
		nodes := p.fleet.Answering()
		if len(nodes) == 0 {
			return nil
		}
		p.asked = nodes[0]
	}
	if p.conns[p.asked] == nil {
		conn, err := grpc.NewClient("passthrough:///"+p.asked.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: probeEvery, Multiplier: 1, MaxDelay: probeEvery}}))
		if err != nil {
			return err
		}
		p.conns[p.asked] = conn
	}
	ask, cancel := context.WithTimeout(ctx, probeWaits)
	defer cancel()
	s := sighting{began: p.log.Now()}
	resp, err := sluicev1.NewRateLimiterServiceClient(p.conns[p.asked]).CheckBatch(ask, &sluicev1.CheckBatchRequest{Checks: p.checks})
	s.ended = p.log.Now()
	s.complete = err == nil && len(resp.GetResults()) == len(p.checks)
	for _, r := range resp.GetResults() {
		s.complete = s.complete && r.GetDecision() != nil
	}
	if ctx.Err() == nil && p.asked.Answers() {
		p.seen = append(p.seen, s)
	}
	return nil
}

// never is how long it took what did not happen.
const never = time.Duration(math.MaxInt64)

// answeredAfter is how long it took after a disturbance, the slowest of those at marks,
// until all of the sample was answered and stayed so until the next, or the end: 0 if it
// always was.
func answeredAfter(seen []sighting, marks []time.Duration, end time.Duration) (slowest time.Duration) {
	for i, from := range marks {
		to := end
		if i+1 < len(marks) {
			to = marks[i+1]
		}
		after, bad := time.Duration(0), false
		for _, s := range seen {
			switch {
			case s.ended < from || s.began >= to:
			case !s.complete:
				after, bad = never, true
			case bad:
				after, bad = s.ended-from, false
			}
		}
		slowest = max(slowest, after)
	}
	return slowest
}
