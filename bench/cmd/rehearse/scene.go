package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/kube"
	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/sandbox"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Gateways.
const (
	dns     = iota // it knows the Service's addresses from DNS, and by the Go client all nodes
	service        // it reaches any pod that is ready
	gateways
)

var gatewayNames = [gateways]string{dns: "dns", service: "service"}

// A scene is one cluster in which one act is played.
type scene struct {
	*gateway.Desk
	options options
	act     act
	dir     string
	random  *rand.Rand
	say     func(format string, args ...any)

	cluster *kube.Cluster
	marked  atomic.Int64  // by the log's clock
	began   time.Duration // the act
	losses  []audit.Loss
	before  []gateway.Sight
	result  result
}

const (
	limit     = 60
	window    = 10 * time.Minute // longer than an act: what is allowed too much stays to be seen
	fillLeast = 20               // units that a key has used when the load begins
	deadline  = 5 * time.Second
	grace     = 60 * time.Second
	lag       = 500 * time.Millisecond
	probing   = time.Second
	// late is by how much a unit may leave its window late: a quantum, and a millisecond for each
	// time that the key moved.
	late       = 10 * time.Millisecond
	settlePoll = 50 * time.Millisecond
)

// play plays an act.
func play(ctx context.Context, o options, a act, network sandbox.Network) (result, error) {
	dir := filepath.Join(o.logs, a.name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return result{}, err
	}
	began := time.Now()
	s := &scene{
		Desk: &gateway.Desk{Keys: gateway.MakeKeys(o.keys), Log: audit.NewLog()}, options: o, act: a, dir: dir,
		random: rand.New(rand.NewPCG(o.seed, uint64(crc32.ChecksumIEEE([]byte(a.name))))),
		result: result{Act: a.name, Bound: a.bounds.String(), Broken: []string{}},
		say: func(format string, args ...any) {
			fmt.Fprintf(o.progress(), "%s  %s: %s\n", time.Now().Format(gateway.ClockFormat), a.name, fmt.Sprintf(format, args...))
		},
	}
	err := s.run(ctx, network)
	r := s.result
	if err != nil {
		return r, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	r.Took = time.Since(began)
	s.say("over %d, denied early %d, failed %d and %d of %d, longest %s, took %s", r.Over, r.Early, r.Failed[dns], r.Failed[service], r.Calls[dns]+r.Calls[service], span(r.Longest), span(r.Took))
	for _, d := range r.Details {
		fmt.Fprintln(o.progress(), "      "+d)
	}
	for _, b := range r.Broken {
		s.say("BROKEN: %s", b)
	}
	if len(r.Broken) > 0 {
		r.Logs = dir
	} else if !o.keep {
		return r, os.RemoveAll(dir)
	}
	return r, nil
}

// run plays the act. The error says why nothing can be said of it; what does not hold is in the
// result.
func (s *scene) run(ctx context.Context, network sandbox.Network) (err error) {
	policy := fmt.Sprintf("tiers:\n  rehearsal: {windows: [{limit: %d, per: %s}], concurrent: %d}\ndefault_tier: rehearsal\n", limit, window, gateway.Concurrent)
	if s.cluster, err = kube.New(kube.Config{
		Network: network, Binaries: map[string]string{current: s.options.binary, previous: s.options.previous}, Dir: s.dir, Policy: policy,
		MinMembers: max(s.act.minMembers, s.options.minMembers), Grace: grace, Probe: probing, Lag: lag, Say: s.say,
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.cluster.Close()) }()
	if err := s.assemble(ctx); err != nil {
		return fmt.Errorf("the first start: %w", err)
	}
	circle, err := s.circle()
	if err != nil {
		return err
	}
	defer circle.Close()
	runs := &gateway.Runs{Circle: circle}
	if err := s.prepare(ctx, circle, runs); err != nil {
		return fmt.Errorf("before the act: %w", err)
	}
	aware, err := s.OpenAware(s.cluster.Target(), dns, deadline)
	if err != nil {
		return err
	}
	defer aware.Close()
	through, err := s.circle()
	if err != nil {
		return err
	}
	plain := s.OpenPlain(through, service, deadline)
	defer plain.Close()
	load := &gateway.Traffic{Gateways: [][]gateway.Gateway{{aware, plain}}, Keys: s.Keys, Rate: s.options.rate, Random: s.random}
	if err := s.underLoad(ctx, load, runs); err != nil {
		return err
	}
	return s.reckon(ctx, circle, runs)
}

// circle connects through the Service's own address, as one that knows no more does.
func (s *scene) circle() (*gateway.Circle, error) {
	return gateway.Dial([]string{kube.Service + "-a", kube.Service + "-b"}, grpc.WithContextDialer(s.cluster.Dial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: time.Second,
		}))
}

// prepare brings the keys and the runs to where the act finds them.
func (s *scene) prepare(ctx context.Context, c *gateway.Circle, runs *gateway.Runs) error {
	cost := make([]uint32, len(s.Keys.Names))
	for k := range cost {
		cost[k] = fillLeast + s.random.Uint32N(limit-fillLeast+1)
	}
	if err := runs.Acquire(ctx); err != nil {
		return err
	}
	if err := s.Fill(ctx, c, cost); err != nil {
		return err
	}
	var err error
	s.before, err = s.Inspect(ctx, s.admins())
	return err
}

// underLoad plays the act while calls come.
func (s *scene) underLoad(ctx context.Context, traffic *gateway.Traffic, runs *gateway.Runs) (err error) {
	load, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var released error
	defer func() {
		cancel()
		all.Wait()
		err = errors.Join(err, released)
	}()
	stalls, err := process.Start(ctx, stallCommand)
	if err != nil {
		return err
	}
	defer func() {
		line, e := stalls.Result()
		if e == nil {
			_, e = fmt.Sscan(line, &s.result.Stalled)
		}
		err = errors.Join(err, e)
	}()
	all.Go(func() { traffic.Run(load) })
	all.Go(func() { runs.Hold(load) })
	all.Go(func() { s.result.Settled = s.unsettled(load) })
	if err := s.wait(ctx, s.options.leadIn); err != nil {
		return err
	}
	all.Go(func() { released = runs.Release(load) })
	s.mark()
	s.began = s.Log.Now()
	if err := s.act.play(ctx, s); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.broken(err)
	}
	if err := s.settle(ctx); err != nil {
		s.broken(err)
	}
	return s.wait(ctx, s.options.tail)
}

// reckon finds out what came of it all.
func (s *scene) reckon(ctx context.Context, c *gateway.Circle, runs *gateway.Runs) (err error) {
	if err := s.Drain(ctx, c); err != nil {
		s.broken(err)
	}
	if s.result.Leases, err = runs.Count(ctx, s.admins()[0]); err != nil {
		s.broken(err)
	}
	after, err := s.Inspect(ctx, s.admins())
	if err != nil {
		return err
	}
	counts := make([]audit.Count, len(after))
	for k, at := range after {
		counts[k] = at.Count
	}
	if err := s.cluster.Failed(); err != nil {
		s.broken(err)
	}
	rule := audit.Rule{Limit: limit, Window: window, Late: late}
	s.weigh(rule.Judge(s.Log.Tries(), s.Log.Calls(), counts, s.losses), after)
	s.clock()
	r := &s.result
	r.Broken = append(r.Broken, s.act.bounds.judge(r)...)
	if len(r.Broken) > 0 {
		r.Details = append(r.Details, r.Leases.Problems[:min(maxDetails, len(r.Leases.Problems))]...)
	}
	return nil
}

// broken notes that something does not hold.
func (s *scene) broken(err error) { s.result.Broken = append(s.result.Broken, err.Error()) }

// mark notes that something happens now: that the act begins, or that a pod is back.
func (s *scene) mark() { s.marked.Store(int64(s.Log.Now())) }

func (s *scene) wait(ctx context.Context, d time.Duration) error { return gateway.Wait(ctx, d) }

// victim is the ordinal of the pod that something happens to.
func (s *scene) victim() int { return s.random.IntN(s.act.pods) }

// admins are the operators' services of the pods that run.
func (s *scene) admins() (all []adminv1.AdminServiceClient) {
	for _, m := range s.cluster.Members() {
		all = append(all, m.Admin)
	}
	return all
}

// loses notes that a pod is lost, with what it has answered since.
func (s *scene) loses(since time.Duration, ordinal int) {
	const onTheWay = 20 * time.Millisecond // what it answered and others passed on
	loss := audit.Loss{Keys: map[int]bool{}, From: since, To: s.Log.Now() + onTheWay}
	for k, at := range s.before {
		if at.Holder == fmt.Sprintf("sluice-%d", ordinal) {
			loss.Keys[k] = true
		}
	}
	s.losses = append(s.losses, loss)
}

// apply changes what is wanted and waits until it has come about. What is then left to settle
// counts from the last pod that came or went.
func (s *scene) apply(ctx context.Context, change func(*kube.Set)) error {
	s.cluster.Apply(change)
	ctx, cancel := context.WithTimeout(ctx, restMost)
	defer cancel()
	return s.cluster.Rest(ctx)
}

// settle waits until all pods are members of one settled cluster.
func (s *scene) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, comesMost)
	defer cancel()
	for {
		amiss := fleet.Amiss(ctx, s.cluster.Members())
		if amiss == nil {
			return nil
		}
		if err := s.cluster.Failed(); err != nil {
			return err
		}
		if s.wait(ctx, settlePoll) != nil {
			return fmt.Errorf("the pods do not agree: %w", amiss)
		}
	}
}
