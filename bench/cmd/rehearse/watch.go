package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/kube"
)

// watchPoll is how often it is looked whether pods are ready.
const watchPoll = 20 * time.Millisecond

// assemble starts all pods in parallel, and sees to it that none is ready before they are one
// cluster.
func (s *scene) assemble(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, comesMost)
	defer cancel()
	if s.act.dns.Delay > 0 {
		for i := range s.act.pods {
			s.cluster.Sicken(i, s.act.dns, outage)
		}
	}
	began := time.Now()
	s.cluster.Apply(func(set *kube.Set) {
		*set = kube.Set{Replicas: s.act.pods, Revision: current, MinReady: s.options.minReady}
		if s.act.revision != "" {
			set.Revision = s.act.revision
		}
	})
	early := map[string]string{}
	for {
		// What is amiss after a pod was seen to be ready was so when it was.
		ready := s.ready(ctx)
		members := s.cluster.Members()
		amiss := fleet.Amiss(ctx, members)
		if len(members) < s.act.pods {
			amiss = fmt.Errorf("%d of %d pods run", len(members), s.act.pods)
		}
		if amiss == nil {
			break
		}
		for _, name := range ready {
			// Copies and permits follow within a moment, and calls wait for what they need.
			if early[name] == "" && !errors.Is(amiss, fleet.ErrRaw) {
				early[name] = fmt.Sprintf("%s, %s after the start, while: %v", name, span(time.Since(began)), amiss)
			}
		}
		if err := s.cluster.Failed(); err != nil {
			return err
		}
		if s.wait(ctx, watchPoll) != nil {
			return fmt.Errorf("not one cluster: %w", amiss)
		}
	}
	s.result.Formed = time.Since(began)
	s.say("one cluster after %s", span(s.result.Formed))
	for _, m := range s.cluster.Members() {
		if why := early[m.Name]; why != "" {
			s.result.ReadyEarly = append(s.result.ReadyEarly, why)
		}
	}
	return s.cluster.Rest(ctx)
}

// ready names the pods whose page /readyz says that they are.
func (s *scene) ready(ctx context.Context) (names []string) {
	web := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, p := range s.cluster.Status() {
		if !p.Runs {
			continue
		}
		all.Go(func() {
			if ok, _ := kube.ReadyPage(ctx, web, p.Address); ok {
				mu.Lock()
				defer mu.Unlock()
				names = append(names, p.Name)
			}
		})
	}
	all.Wait()
	return names
}

// unsettledPoll is how often it is looked whether pods are one settled cluster, under load.
const unsettledPoll = 200 * time.Millisecond

// unsettled looks until ctx ends, and returns the longest time from when pods were no longer one
// settled cluster, or from a mark in that time, until they were again.
func (s *scene) unsettled(ctx context.Context) (longest time.Duration) {
	since := time.Duration(-1) // they are
	for s.wait(ctx, unsettledPoll) == nil {
		amiss := fleet.Amiss(ctx, s.cluster.Members())
		now := s.Log.Now()
		switch {
		case ctx.Err() != nil:
		case amiss != nil && since < 0:
			since = now
		case amiss == nil && since >= 0:
			longest = max(longest, now-max(since, time.Duration(s.marked.Load())))
			since = -1
		}
	}
	return longest
}

// evict ends a pod and waits until it is a full member again.
func (s *scene) evict(ctx context.Context, ordinal int) error {
	ctx, cancel := context.WithTimeout(ctx, comesMost)
	defer cancel()
	before := s.cluster.Status()[ordinal]
	s.cluster.Evict(ordinal)
	var again kube.Status
	if err := s.cluster.Await(ctx, before.Name+" comes again", func() bool {
		for _, p := range s.cluster.Status() {
			if p.Ordinal == ordinal && p.Runs && p.Address != before.Address {
				again = p
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.result.Joined = time.Since(again.Started)
	s.say("%s is a full member, %s after it started", again.Name, span(s.result.Joined))
	if err := s.cluster.Rest(ctx); err != nil {
		return errors.Join(err, fmt.Errorf("%s is not ready", again.Name))
	}
	return nil
}
