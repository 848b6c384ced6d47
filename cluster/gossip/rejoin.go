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

// rejoinLoop makes one round of attempts after the other, for ever: gossip alone never asks again for
// a member that it once gave up, and two halves of a cluster that have given each other up would
// stay apart.
func (g *Gossip) rejoinLoop(ctx context.Context, round func(context.Context)) {
	for {
		round(ctx)
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

// rejoinSeeds tries the seeds, each as soon as its name is looked up.
func (g *Gossip) rejoinSeeds(ctx context.Context) {
	a := g.attempt()
	inParallel(g.config.seeds, func(s seed) {
		ips, err := g.lookUp(ctx, s.host)
		if err != nil {
			a.failed(fmt.Errorf("seed %s: %w", s, err))
		}
		var addrs []netip.AddrPort
		for _, ip := range ips {
			addrs = append(addrs, netip.AddrPortFrom(plain(ip), s.port))
		}
		a.join(addrs)
	})
	a.report(ctx)
}

// rejoinMissing tries the last known addresses of who is missing. It waits for no name.
func (g *Gossip) rejoinMissing(ctx context.Context) {
	a := g.attempt()
	_, missing := g.roster.addresses()
	if len(missing) > maxMissing {
		rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
		missing = missing[:maxMissing]
	}
	a.join(missing)
	a.report(ctx)
}

// An attempt is one round of joining.
type attempt struct {
	g *Gossip

	mu      sync.Mutex // guards what follows
	tried   map[netip.AddrPort]bool
	reached int
	errs    []error
}

func (g *Gossip) attempt() *attempt { return &attempt{g: g, tried: map[netip.AddrPort]bool{}} }

func (a *attempt) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs = append(a.errs, err)
}

// join tries addresses that were not tried, and at which no living member is known to be.
func (a *attempt) join(addrs []netip.AddrPort) {
	living, _ := a.g.roster.addresses()
	a.mu.Lock()
	addrs = slices.DeleteFunc(addrs, func(addr netip.AddrPort) bool {
		again := living[addr] || a.tried[addr]
		a.tried[addr] = true
		return again
	})
	a.mu.Unlock()
	inParallel(addrs, func(addr netip.AddrPort) {
		if _, err := a.g.list.Join([]string{addr.String()}); err != nil {
			a.failed(err)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.reached++
	})
}

// report logs what went wrong.
func (a *attempt) report(ctx context.Context) {
	switch {
	case ctx.Err() != nil || len(a.errs) == 0:
	case a.reached == 0 && !a.g.Joined():
		a.g.journal.warn("alone", "no member was reached yet, trying on", "error", errors.Join(a.errs...).Error())
	default:
		a.g.journal.debug("some that are missing were not reached", "error", errors.Join(a.errs...).Error())
	}
}

// lookUp returns all addresses of a host, asked anew each time: behind a name may be others today.
func (g *Gossip) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.config.Timing.Lookup)
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
