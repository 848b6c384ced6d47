package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/process"
)

// A stage is one cluster on which one event is played once.
type stage struct {
	*gateway.Desk
	options options
	event   event
	window  time.Duration
	random  *rand.Rand
	dir     string
	say     func(format string, args ...any)

	fleet   *fleet.Fleet
	traffic *gateway.Traffic
	sample  []string // keys that are asked for all the time, without counting
	marks   []time.Duration
	losses  []audit.Loss
	lost    []*fleet.Node
	before  []gateway.Sight // how keys stood before the event
	result  result
}

const (
	limit     = 60
	fillLeast = 20 // units that a key has used when the load begins
	fillMost  = 55
	sampled   = 300
	startMost = 20 * time.Second
	// late is by how much a unit may leave its window late: a quantum, and a millisecond for
	// each time that the key moved.
	late = 5 * time.Millisecond
)

// victim is the node that something happens to.
func (s *stage) victim() *fleet.Node { return s.fleet.Nodes[s.random.IntN(s.event.nodes)] }

// mark notes that something happens now that may keep calls from being answered.
func (s *stage) mark() { s.marks = append(s.marks, s.Log.Now()) }

// broken notes that something does not hold.
func (s *stage) broken(format string, args ...any) {
	s.say(format, args...)
	s.result.Broken = append(s.result.Broken, fmt.Sprintf(format, args...))
}

// loses notes that nodes are lost, with what they have answered since.
func (s *stage) loses(since time.Duration, nodes ...*fleet.Node) {
	s.excuse(since, nodes...)
	s.lost = append(s.lost, nodes...)
}

// excuse notes that what nodes have answered since may not be known to any other.
func (s *stage) excuse(since time.Duration, nodes ...*fleet.Node) {
	const onTheWay = 20 * time.Millisecond // what they answered and others passed on
	loss := audit.Loss{Keys: map[int]bool{}, From: since, To: s.Log.Now() + onTheWay}
	for k, at := range s.before {
		for _, n := range nodes {
			if at.Holder == n.Name {
				loss.Keys[k] = true
			}
		}
	}
	s.losses = append(s.losses, loss)
}

// settle waits until all nodes agree.
func (s *stage) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	return s.fleet.Settle(ctx)
}

// run plays the event. The error says why nothing can be said of it; what does not hold is
// in the result.
func (s *stage) run(ctx context.Context) (err error) {
	if s.fleet, err = fleet.New(fleet.Config{
		Binary: s.options.binary, Dir: s.dir, Nodes: s.event.nodes + s.event.spare,
		Limit: limit, Window: s.window, Concurrent: gateway.Concurrent, MinMembers: max(s.event.minMembers, s.options.least),
		Namespaces: s.event.namespaces, Ready: startMost,
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.fleet.Close()) }()
	if err := s.assemble(ctx); err != nil {
		return fmt.Errorf("before the event: %w", err)
	}
	circle, err := gateway.Dial(addresses(s.fleet.Nodes))
	if err != nil {
		return err
	}
	defer circle.Close()
	runs := &gateway.Runs{Circle: circle}
	if err := s.prepare(ctx, circle, runs); err != nil {
		return fmt.Errorf("before the event: %w", err)
	}
	gateways, err := s.openGateways(addresses(s.fleet.Answering()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.CloseAll(gateways)) }()
	s.traffic = &gateway.Traffic{Gateways: gateways, Keys: s.Keys, Rate: s.options.rate, Random: s.random}
	probe := newProbe(s.Log, s.fleet, s.sample)
	from, to, err := s.underLoad(ctx, probe, runs)
	if err != nil {
		return err
	}
	return s.reckon(ctx, runs, probe, from, to)
}

func addresses(nodes []*fleet.Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Address())
	}
	return out
}

// assemble starts the nodes.
func (s *stage) assemble(ctx context.Context) error {
	for _, n := range s.fleet.Nodes[:s.event.nodes] {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// prepare brings the keys and the runs to where the event finds them.
func (s *stage) prepare(ctx context.Context, c *gateway.Circle, runs *gateway.Runs) error {
	cost := make([]uint32, len(s.Keys.Names))
	for k := range cost {
		cost[k] = fillLeast + s.random.Uint32N(fillMost-fillLeast+1)
	}
	for _, k := range s.random.Perm(len(cost))[:min(sampled, len(cost))] {
		s.sample = append(s.sample, s.Keys.Names[k])
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

// underLoad plays the event while calls come, and returns when it began and ended.
func (s *stage) underLoad(ctx context.Context, p *probe, runs *gateway.Runs) (from, to time.Duration, err error) {
	load, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var probed, released error
	defer func() {
		cancel()
		all.Wait()
		err = errors.Join(err, probed, released)
	}()
	stalls, err := process.Start(ctx, stallCommand)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		line, e := stalls.Result()
		if e == nil {
			_, e = fmt.Sscan(line, &s.result.Stalled)
		}
		err = errors.Join(err, e)
	}()
	loadBegan := time.Now()
	all.Go(func() { s.traffic.Run(load) })
	all.Go(func() { probed = p.run(load) })
	all.Go(func() { runs.Hold(load) })
	if err := gateway.Wait(ctx, s.options.leadIn); err != nil {
		return 0, 0, err
	}
	all.Go(func() { released = runs.Release(load) })
	since := meter(s.fleet)
	from = s.Log.Now()
	s.mark()
	if err := s.event.play(ctx, s); err != nil {
		if ctx.Err() != nil {
			return 0, 0, err
		}
		s.broken("%v", err)
	}
	to = s.Log.Now()
	ended := time.Now()
	if err := s.settle(ctx); err != nil {
		s.broken("%v", err)
	}
	s.result.Agreed = s.Log.Now() - s.marks[len(s.marks)-1]
	rest := s.options.tail - time.Since(ended)
	if s.window <= time.Minute { // it is to be seen that what is old goes
		rest = max(rest, s.window+15*time.Second-time.Since(loadBegan))
	}
	if rest > 0 {
		err = gateway.Wait(ctx, rest)
	}
	s.result.Others = since.othersTo(meter(s.fleet))
	return from, to, err
}

// reckon finds out what came of it all.
func (s *stage) reckon(ctx context.Context, runs *gateway.Runs, p *probe, from, to time.Duration) (err error) {
	c, err := gateway.Dial(addresses(s.fleet.Answering()))
	if err != nil {
		return err
	}
	defer c.Close()
	runs.Circle = c
	if err := s.Drain(ctx, c); err != nil {
		s.broken("%v", err)
	}
	if s.result.Leases, err = runs.Count(ctx, s.admins()[0]); err != nil {
		s.broken("%v", err)
	}
	after, err := s.Inspect(ctx, s.admins())
	if err != nil {
		return err
	}
	counts := make([]audit.Count, len(after))
	for k, at := range after {
		counts[k] = at.Count
	}
	if dead := s.fleet.Dead(); dead != "" {
		s.broken("%s", dead)
	}
	r := &s.result
	r.Answered = answeredAfter(p.seen, s.marks, to+s.options.tail)
	s.clock(from, to+s.options.tail)
	rule := audit.Rule{Limit: limit, Window: s.window, Late: late}
	findings := rule.Judge(s.Log.Tries(), s.Log.Calls(), counts, s.losses)
	s.weigh(findings, after)
	broken, slow := s.event.bounds.judge(r)
	r.Broken = append(r.Broken, broken...)
	if s.options.short { // it runs wherever the tests do, beside whatever else does
		r.Slow = slow
	} else {
		r.Broken = append(r.Broken, slow...)
	}
	if len(r.Broken) > 0 {
		r.Details = append(r.Details, r.Leases.Problems[:min(maxDetails, len(r.Leases.Problems))]...)
		return s.writeTimeline(findings, after, from)
	}
	return nil
}

// orphan reports whether a key's holder and all its copies are lost.
func (s *stage) orphan(k int) bool {
	at := s.before[k]
	lost := func(name string) bool {
		return slices.ContainsFunc(s.lost, func(n *fleet.Node) bool { return n.Name == name })
	}
	return lost(at.Holder) && !slices.ContainsFunc(at.Copies, func(name string) bool { return !lost(name) })
}

// weigh sums up what was found of the keys.
func (s *stage) weigh(findings []audit.Finding, after []gateway.Sight) {
	r := &s.result
	for _, f := range findings {
		orphan := s.orphan(f.Key)
		over, uncounted := s.event.bounds.excess(f, orphan, limit)
		r.Over += f.Over
		r.OverExcess += over
		r.Excused += f.Excused
		r.Uncounted += f.Uncounted
		r.UncountedExcess += uncounted
		r.Overcounted += f.Overcounted
		r.Early += f.Early
		r.Denied += f.Denied
		if orphan {
			r.Orphans++
		}
		if f.Degraded && !orphan && s.event.bounds.over != twice {
			s.broken("%s was answered degraded, though its holder %s or a copy (%v) lived", s.Keys.Names[f.Key], s.before[f.Key], s.before[f.Key].Copies)
		}
		if orphan && !f.Degraded && s.event.bounds.over == orphans {
			s.broken("%s was never answered degraded, though its holder %s and its copies %v died", s.Keys.Names[f.Key], s.before[f.Key], s.before[f.Key].Copies)
		}
		wrong := over > 0 || uncounted > 0 || f.Overcounted > 0 || f.Early > 0 && s.event.bounds.deniedNever || f.Denied > 0 && s.event.bounds.denied
		if wrong && len(r.Details) < maxDetails {
			r.Details = append(r.Details, fmt.Sprintf("%s: over %d, denied early %d (%d beyond doubt), not counted %d, counted for nothing %d (excused: %d); held by %v before and by %v in the end, which counts %d",
				s.Keys.Names[f.Key], f.Over, f.Early, f.Denied, f.Uncounted, f.Overcounted, f.Excused, s.before[f.Key], after[f.Key], after[f.Key].Count.Used))
		}
	}
}

// maxDetails bounds what is told of one repetition.
const maxDetails = 10
