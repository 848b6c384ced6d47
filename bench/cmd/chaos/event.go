package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/process"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// An event is something that happens to a cluster under load, and what must hold then.
type event struct {
	name       string
	nodes      int // at first
	spare      int // that may join
	minMembers int
	namespaces bool // it needs nodes with cables of their own
	short      bool // it is part of the short form
	play       func(context.Context, *stage) error
	bounds     bounds
}

// What may be lost with a node, or not be heard of while it is silent.
const (
	lastOfKilled = 30 * time.Millisecond // or paused: hits that were not on their way to a copy yet
	lastOfGone   = 500 * time.Millisecond
)

var (
	// planned is what must hold whenever nodes come and go as they should.
	planned = bounds{failed5s: true, failed50ms: true, deniedNever: true}
	// crashed is what must hold when a node is gone without warning.
	crashed = bounds{over: lostAnswers, failed5s: true, denied: true, answered: time.Second}
)

// events are all that can happen. The bounds are those that the product promises.
var events = []event{
	{name: "join-1-2", nodes: 1, spare: 1, play: join, bounds: planned},
	{name: "join-2-3", nodes: 2, spare: 1, short: true, play: join, bounds: planned},
	{name: "join-3-4", nodes: 3, spare: 1, play: join, bounds: planned},
	{name: "stop", nodes: 3, short: true, play: stop, bounds: planned},
	{name: "rolling-restart", nodes: 3, play: rollingRestart, bounds: planned},
	{name: "kill", nodes: 3, short: true, play: kill, bounds: crashed},
	{name: "kill-quiet", nodes: 3, play: killQuiet, bounds: crashed.with(func(b *bounds) { b.over = nothing })},
	{name: "kill-restart", nodes: 3, play: killRestart, bounds: crashed.with(func(b *bounds) { b.answered = 2 * time.Second })},
	{name: "pause", nodes: 3, short: true, play: pause, bounds: crashed.with(func(b *bounds) { b.over, b.answered = lateAnswers, 1500*time.Millisecond })},
	{name: "gone", nodes: 3, namespaces: true, play: gone, bounds: crashed.with(func(b *bounds) { b.answered = 2 * time.Second })},
	{name: "two-of-five", nodes: 5, play: twoOfFive, bounds: bounds{over: orphans, failed5s: true}},
	{name: "split", nodes: 3, namespaces: true, play: split, bounds: bounds{over: twice, agreed: 15 * time.Second}},
	{name: "split-min-members", nodes: 3, minMembers: 2, namespaces: true, play: split, bounds: bounds{agreed: 15 * time.Second}},
	{name: "busy", nodes: 3, spare: 1, play: busy, bounds: bounds{failed5s: true, denied: true}},
}

// Bounds on what is waited for in an event, far above what must hold.
const (
	leaveMost  = 40 * time.Second
	settleMost = 30 * time.Second
)

// join lets a node come.
func join(ctx context.Context, s *stage) error {
	n := s.fleet.Nodes[s.event.nodes]
	if err := n.Start(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

// leave lets a node go as it should.
func (s *stage) leave(ctx context.Context, n *fleet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, leaveMost)
	defer cancel()
	s.say("SIGTERM to %s", n.Name)
	return n.Stop(ctx)
}

func stop(ctx context.Context, s *stage) error { return s.leave(ctx, s.victim()) }

func rollingRestart(ctx context.Context, s *stage) error {
	for _, n := range s.fleet.Nodes {
		s.mark()
		if err := s.leave(ctx, n); err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// crash ends nodes without warning, all at once.
func (s *stage) crash(nodes ...*fleet.Node) error {
	errs := make([]error, len(nodes))
	done := make(chan struct{})
	before := s.Log.Now()
	for i, n := range nodes {
		s.say("SIGKILL to %s", n.Name)
		go func() {
			errs[i] = n.Kill()
			done <- struct{}{}
		}()
	}
	for range nodes {
		<-done
	}
	s.loses(before-lastOfKilled, nodes...)
	return errors.Join(errs...)
}

func kill(_ context.Context, s *stage) error { return s.crash(s.victim()) }

// killQuiet kills a node that has answered nothing for a while.
func killQuiet(ctx context.Context, s *stage) error {
	s.traffic.Hush()
	defer s.traffic.Quiet.Store(false)
	if err := gateway.Wait(ctx, 2*lastOfKilled); err != nil {
		return err
	}
	s.mark()
	return s.crash(s.victim())
}

func killRestart(ctx context.Context, s *stage) error {
	n := s.victim()
	if err := s.crash(n); err != nil {
		return err
	}
	if err := gateway.Wait(ctx, time.Duration(s.random.Int64N(int64(700*time.Millisecond)))); err != nil {
		return err
	}
	s.say("%s starts again", n.Name)
	if err := n.Start(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

func pause(ctx context.Context, s *stage) error {
	n := s.victim()
	before := s.Log.Now()
	s.say("SIGSTOP to %s", n.Name)
	if err := n.Pause(); err != nil {
		return err
	}
	s.excuse(before-lastOfKilled, n)
	if err := gateway.Wait(ctx, s.options.pause); err != nil {
		return err
	}
	s.mark()
	s.say("SIGCONT to %s", n.Name)
	return n.Resume()
}

// gone is a machine that vanishes without a word: all its packets are dropped.
func gone(_ context.Context, s *stage) error {
	n := s.victim()
	before := s.Log.Now()
	s.say("packets from and to %s are dropped", n.Name)
	err := n.Cut()
	s.loses(before-lastOfGone, n)
	return err
}

func twoOfFive(_ context.Context, s *stage) error {
	order := s.random.Perm(len(s.fleet.Nodes))
	return s.crash(s.fleet.Nodes[order[0]], s.fleet.Nodes[order[1]])
}

// How long a split lasts, and when in it the lone node is looked at.
const (
	splitFor  = 8 * time.Second
	lookAfter = 6 * time.Second
)

// split separates one node from the other two; gateways reach all of them.
func split(ctx context.Context, s *stage) error {
	lone := s.victim()
	s.say("%s is cut off from the other nodes", lone.Name)
	if err := lone.CutPeers(); err != nil {
		return err
	}
	if err := gateway.Wait(ctx, lookAfter); err != nil {
		return err
	}
	if s.event.minMembers > 1 {
		if err := s.refuses(ctx, lone); err != nil {
			s.broken("%v", err)
		}
	}
	if err := gateway.Wait(ctx, splitFor-lookAfter); err != nil {
		return err
	}
	s.mark()
	s.say("%s is plugged in again", lone.Name)
	return lone.Mend()
}

// refuses finds out whether a node decides nothing at all.
func (s *stage) refuses(ctx context.Context, n *fleet.Node) error {
	c, err := gateway.Dial([]string{n.Address()})
	if err != nil {
		return err
	}
	defer c.Close()
	req := &sluicev1.CheckBatchRequest{}
	for _, name := range s.sample {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: name, Cost: new(uint32)})
	}
	ctx, cancel := context.WithTimeout(ctx, gateway.TryMost)
	defer cancel()
	resp, err := sluicev1.NewRateLimiterServiceClient(c.Conns[0]).CheckBatch(ctx, req)
	if err != nil {
		if gateway.Undecided(err) {
			return nil
		}
		return err
	}
	for i, r := range resp.GetResults() {
		if r.GetDecision() != nil {
			return fmt.Errorf("%s is alone and decides for %s all the same", n.Name, s.sample[i])
		}
	}
	return nil
}

// Busy is the load that other programs make.
const (
	busyFor  = 2 * time.Minute
	busyRest = 5 * time.Second // between a node's coming and going
)

// busy keeps all processors busy while a node comes and goes.
func busy(ctx context.Context, s *stage) (err error) {
	for range runtime.NumCPU() {
		child, e := process.Start(ctx, spinCommand)
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, child.Stop()) }()
	}
	s.say("%d programs keep the processors busy for %v", runtime.NumCPU(), busyFor)
	n := s.fleet.Nodes[s.event.nodes]
	for until := time.Now().Add(busyFor); time.Now().Before(until); {
		s.mark()
		s.say("%s joins", n.Name)
		if err := n.Start(ctx); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		if err := gateway.Wait(ctx, busyRest); err != nil {
			return err
		}
		s.mark()
		if err := s.leave(ctx, n); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		if err := gateway.Wait(ctx, busyRest); err != nil {
			return err
		}
	}
	return nil
}

// spinCommand is how this program is told to be one that keeps a processor busy.
const spinCommand = "spin"

// stallCommand is how it is told to be the one that sees whether the machine stood still.
const stallCommand = "stalls"

// spin keeps a processor busy until the parent has had enough.
func spin() {
	go func() {
		for {
			_ = os.Getpid()
		}
	}()
	process.Hold("spinning")
}
