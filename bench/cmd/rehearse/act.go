package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/overten/sluice/bench/internal/kube"
	"github.com/overten/sluice/bench/internal/nameserver"
)

// Revisions of pods.
const (
	current  = "current"
	previous = "previous"
)

// An act is something that happens to the pods under load, and what must hold then.
type act struct {
	name       string
	pods       int                // at first
	revision   string             // of those; "": current
	minMembers int                // 0: as the program was told
	short      bool               // it is part of the short form
	private    bool               // pods must have a network of their own
	previous   bool               // there must be an earlier build
	dns        nameserver.Trouble // of all pods at their first start
	play       func(context.Context, *scene) error
	bounds     bounds
}

// acts are all that can be played, with the bounds that the product promises. Those that end in 2
// have --min-members 2, without which a pod that sees no other goes on alone.
var acts = []act{
	{name: "first-start", pods: 3, short: true, play: nothing, bounds: planned},
	{name: "first-start-slow", pods: 3, private: true, dns: slow, play: nothing, bounds: planned},
	{name: "upgrade", pods: 3, revision: previous, previous: true, short: true, play: roll(current), bounds: planned},
	{name: "downgrade", pods: 3, previous: true, short: true, play: roll(previous), bounds: planned},
	{name: "scale-up-stepwise", pods: 3, play: scale(4, 5, 6, 7), bounds: planned},
	{name: "scale-down-stepwise", pods: 7, play: scale(6, 5, 4, 3), bounds: planned},
	{name: "scale-up-at-once", pods: 3, play: scale(7), bounds: planned},
	{name: "scale-down-at-once", pods: 7, play: scale(3), bounds: planned},
	{name: "eviction", pods: 3, short: true, play: evict, bounds: planned.joinedWithin(5 * time.Second)},
	{name: "node-lost", pods: 3, play: lose, bounds: crashed},
	{name: "dns-slow", pods: 3, private: true, play: ill(slow, outage), bounds: planned.joinedWithin(8 * time.Second)},
	{name: "dns-stale", pods: 3, private: true, play: stale, bounds: planned.joinedWithin(ailing + 5*time.Second)},
	{name: "dns-fails", pods: 3, private: true, play: ill(nameserver.Trouble{Fail: true}, ailing), bounds: planned.joinedWithin(ailing + 5*time.Second)},
	{name: "dns-empty", pods: 3, private: true, play: ill(nameserver.Trouble{Empty: true}, ailing), bounds: planned.joinedWithin(ailing + 5*time.Second)},
	{name: "dns-gone", pods: 3, private: true, play: gone, bounds: bounds{twice: true, leases: true}.joinedWithin(outage + 5*time.Second)},
	{name: "dns-gone-2", pods: 3, private: true, minMembers: 2, play: gone, bounds: planned.joinedWithin(outage + 5*time.Second)},
	{name: "cut-off", pods: 3, private: true, play: cutOff, bounds: bounds{twice: true}.stuck()},
	{name: "cut-off-2", pods: 3, private: true, minMembers: 2, play: cutOff, bounds: planned.stuck()},
}

// slow is DNS that answers late.
var slow = nameserver.Trouble{Delay: 3 * time.Second}

const (
	ailing    = 6 * time.Second  // how long DNS is wrong for one pod: shorter than the nodes' --bootstrap-after, 10 s
	outage    = 16 * time.Second // how long for all of them: longer than that
	cutFor    = 8 * time.Second
	restMost  = 5 * time.Minute
	comesMost = 2 * time.Minute
)

func nothing(context.Context, *scene) error { return nil }

// roll updates all pods.
func roll(to string) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		return s.apply(ctx, func(set *kube.Set) { set.Revision = to })
	}
}

// scale changes the number of pods, step by step.
func scale(steps ...int) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		for _, replicas := range steps {
			s.say("%d replicas are wanted", replicas)
			if err := s.apply(ctx, func(set *kube.Set) { set.Replicas = replicas }); err != nil {
				return err
			}
			if err := s.settle(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// evict ends a pod, which comes again with another address.
func evict(ctx context.Context, s *scene) error { return s.evict(ctx, s.victim()) }

// ill lets DNS be wrong for a pod that comes again.
func ill(t nameserver.Trouble, lasts time.Duration) func(context.Context, *scene) error {
	return func(ctx context.Context, s *scene) error {
		n := s.victim()
		s.cluster.Sicken(n, t, lasts)
		return s.evict(ctx, n)
	}
}

// stale lets DNS tell a pod addresses that nobody has any more, its own former one among them.
func stale(ctx context.Context, s *scene) error {
	n := s.victim()
	gone := []netip.Addr{s.cluster.Status()[n].Address}
	for i := range byte(2) {
		nobody := gone[0].As4()
		nobody[2], nobody[3] = 253, i+1
		gone = append(gone, netip.AddrFrom4(nobody))
	}
	return ill(nameserver.Trouble{Stale: gone}, ailing)(ctx, s)
}

// gone lets DNS fail for all pods, one of which comes again: nobody can find it.
func gone(ctx context.Context, s *scene) error {
	fails := nameserver.Trouble{Fail: true}
	s.cluster.SickenAll(fails, outage)
	return ill(fails, outage)(ctx, s)
}

// lose kills the last pod with its node, for good, and then does without it.
func lose(ctx context.Context, s *scene) error {
	last := s.act.pods - 1
	before := s.Log.Now()
	if err := s.cluster.Lose(last); err != nil {
		return err
	}
	s.loses(before-lastOfKilled, last)
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.say("%d replicas are wanted", last)
	return s.apply(ctx, func(set *kube.Set) { set.Replicas = last })
}

// cutOff takes a pod off the network, and gives it back.
func cutOff(ctx context.Context, s *scene) error {
	n := s.victim()
	s.say("sluice-%d is cut off", n)
	if err := s.cluster.Cut(n); err != nil {
		return err
	}
	if err := s.wait(ctx, cutFor); err != nil {
		return err
	}
	s.mark()
	s.say("sluice-%d is back", n)
	return s.cluster.Mend(n)
}
