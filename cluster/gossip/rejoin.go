package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of one round of attempts to reach who is missing.
const (
	maxParallel = 16 // connections at a time
	maxMissing  = 16 // last known addresses, chosen at random: in time all have their turn
)

// rejoinLoop tries to reach who is missing, for ever: gossip alone never asks again for a member
// that it once gave up, and two halves of a cluster that have given each other up would stay apart.
func (g *Gossip) rejoinLoop(ctx context.Context) {
	for {
		g.rejoin(ctx)
		pause := g.config.Timing.Rejoin
		if !g.Joined() {
			pause /= 4
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause*3/4 + rand.N(pause/2+1)):
		}
	}
}

// rejoin makes one round.
func (g *Gossip) rejoin(ctx context.Context) {
	addrs, errs := g.targets(ctx)
	var mu sync.Mutex // guards errs and reached
	reached := 0
	inParallel(addrs, func(addr netip.AddrPort) {
		_, err := g.list.Join([]string{addr.String()})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
			return
		}
		reached++
	})
	if ctx.Err() != nil || len(errs) == 0 {
		return
	}
	if reached == 0 && !g.Joined() {
		g.journal.warn("alone", "no member was reached yet, trying on", "error", errors.Join(errs...).Error())
		return
	}
	g.journal.debug("some that are missing were not reached", "error", errors.Join(errs...).Error())
}

// targets returns the addresses of seeds and of missing members at which no living member is known
// to be, and what went wrong with names.
func (g *Gossip) targets(ctx context.Context) ([]netip.AddrPort, []error) {
	var mu sync.Mutex // guards targets and errs
	var targets []netip.AddrPort
	var errs []error
	inParallel(g.config.seeds, func(s seed) {
		ips, err := g.lookUp(ctx, s.host)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, fmt.Errorf("seed %s: %w", s, err))
		}
		for _, ip := range ips {
			targets = append(targets, netip.AddrPortFrom(plain(ip), s.port))
		}
	})
	living, missing := g.roster.addresses()
	if len(missing) > maxMissing {
		rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
		missing = missing[:maxMissing]
	}
	targets = append(targets, missing...)
	slices.SortFunc(targets, netip.AddrPort.Compare)
	targets = slices.Compact(targets)
	return slices.DeleteFunc(targets, func(a netip.AddrPort) bool { return living[a] }), errs
}

// lookUp returns all addresses of a host, asked anew each time: behind a name may be others today.
func (g *Gossip) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.config.Timing.Connect)
	defer cancel()
	return g.config.Resolve(ctx, host)
}

// inParallel calls f with each of these, maxParallel at a time, and returns when all have returned.
func inParallel[T any](items []T, f func(T)) {
	slots := make(chan struct{}, maxParallel)
	var calls sync.WaitGroup
	for _, item := range items {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			f(item)
		})
	}
	calls.Wait()
}
