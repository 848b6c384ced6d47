package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/bench/internal/load"
	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/stat"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A subject is one running server, and what loads it.
type subject struct {
	name   string
	child  *process.Child
	conns  []*grpc.ClientConn
	caller caller
}

// A sample is what one subject did in one round.
type sample struct {
	Name       string  `json:"name"`
	Calls      int     `json:"calls"`
	Failed     int     `json:"failed"`
	Denied     int     `json:"denied"`
	PerSecond  float64 `json:"calls_per_second"`
	P50Millis  float64 `json:"p50_ms"`
	P99Millis  float64 `json:"p99_ms"`
	CPUPerCall float64 `json:"server_cpu_us_per_call"`
}

// measure starts the subjects, warms them up, and loads them in turns. It returns a
// round's samples in the order of the subjects, of which the first is Sluice.
func measure(ctx context.Context, o options, progress io.Writer) (rounds [][]sample, err error) {
	requests := makeRequests(o.keys)
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			if stopErr := s.stop(); err == nil && ctx.Err() == nil {
				err = stopErr
			}
		}
	}()
	for i, name := range append([]string{sluice}, o.against...) {
		s, err := start(ctx, i, name, o)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
		s.caller.requests = requests
	}
	for _, s := range subjects {
		size, err := s.answerSize(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(progress, "warming up %-8s process %d, answers of %d bytes\n", s.name, s.child.PID(), size)
		if _, err := s.sample(ctx, o, o.warmUp); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(progress, "\n%5s  %-8s %9s %9s %8s %8s %12s %7s\n", "pair", "server", "calls", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "ratio")
	for pair := range o.pairs {
		round, err := measureRound(ctx, o, pair, subjects)
		if err != nil {
			return nil, err
		}
		writeRound(progress, pair+1, round)
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// measureRound loads each subject once: in every other round in the opposite order, so
// that none always comes after the same other.
func measureRound(ctx context.Context, o options, pair int, subjects []*subject) ([]sample, error) {
	round := make([]sample, len(subjects))
	order := make([]int, len(subjects))
	for i := range order {
		order[i] = i
	}
	if pair%2 == 1 {
		slices.Reverse(order)
	}
	for _, i := range order {
		s, err := subjects[i].sample(ctx, o, o.period)
		if err != nil {
			return nil, err
		}
		round[i] = s
	}
	return round, nil
}

// start starts the server that is number i among the subjects, and connects to it.
func start(ctx context.Context, i int, name string, o options) (*subject, error) {
	flags := serveFlags{name: name, ballast: ballast(name, o.keys)}
	if o.profiles != "" {
		flags.profile = filepath.Join(o.profiles, fmt.Sprintf("%d-%s", i, name))
	}
	child, err := process.Start(ctx, flags.args()...)
	if err != nil {
		return nil, err
	}
	s := &subject{name: name, child: child}
	for range o.conns {
		conn, err := grpc.NewClient(child.Ready, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			_ = s.stop()
			return nil, err
		}
		s.conns = append(s.conns, conn)
	}
	s.caller.conns = s.conns
	return s, nil
}

func (s *subject) stop() error {
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	if err := s.child.Stop(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// sample loads the subject for so long, and reads what processor time that took of it.
func (s *subject) sample(ctx context.Context, o options, period time.Duration) (sample, error) {
	denied := make([]int, o.workers)
	before, err := process.CPU(s.child.PID())
	if err != nil {
		return sample{}, err
	}
	r := load.Loop{
		Workers: o.workers, For: period, Deadline: o.deadline,
		Worker: func(i int) func(context.Context) error { return s.caller.worker(i, &denied[i]) },
	}.Run(ctx)
	after, err := process.CPU(s.child.PID())
	if err != nil {
		return sample{}, err
	}
	if err := ctx.Err(); err != nil {
		return sample{}, err
	}
	if r.Calls == 0 && r.Failed > 0 {
		return sample{}, fmt.Errorf("%s answered no call: %w", s.name, r.Err)
	}
	out := sample{
		Name: s.name, Calls: r.Calls, Failed: r.Failed,
		PerSecond:  float64(r.Calls) / r.Elapsed.Seconds(),
		P50Millis:  millis(stat.Quantile(r.Latencies, 0.5)),
		P99Millis:  millis(stat.Quantile(r.Latencies, 0.99)),
		CPUPerCall: float64((after - before).Nanoseconds()) / 1000 / float64(r.Calls+r.Failed),
	}
	for _, n := range denied {
		out.Denied += n
	}
	return out, nil
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// answerSize asks once, and tells how large the answer is.
func (s *subject) answerSize(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var out sluicev1.CheckResponse
	err := s.conns[0].Invoke(ctx, sluicev1.RateLimiterService_Check_FullMethodName, s.caller.requests[0], &out)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return proto.Size(&out), nil
}

// A caller makes the calls of one subject.
type caller struct {
	conns    []*grpc.ClientConn
	requests []*sluicev1.CheckRequest
}

// worker returns what worker i does for one call: it asks for a key at random, over the
// connection that it shares with every so many-th worker, and counts what was denied.
func (c *caller) worker(i int, denied *int) func(context.Context) error {
	conn := c.conns[i%len(c.conns)]
	random := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
	var out sluicev1.CheckResponse
	n := 0
	return func(ctx context.Context) error {
		in := c.requests[random.IntN(len(c.requests))]
		err := conn.Invoke(ctx, sluicev1.RateLimiterService_Check_FullMethodName, in, &out)
		if err == nil && !out.GetDecision().GetAllowed() {
			n++
			*denied = n
		}
		return err
	}
}

// makeRequests makes the requests before anything is measured: for so many keys, of the
// built-in tier that allows 600 a minute.
func makeRequests(keys int) []*sluicev1.CheckRequest {
	requests := make([]*sluicev1.CheckRequest, keys)
	for i := range requests {
		key := "sk_live_" + strconv.FormatUint(uint64(i)+1<<60, 16) + strconv.FormatUint(uint64(i)+1<<28, 16)
		requests[i] = &sluicev1.CheckRequest{Key: key, Tier: "enterprise"}
	}
	return requests
}
