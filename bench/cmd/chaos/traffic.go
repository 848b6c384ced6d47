package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is a steady load: calls begin at a fixed rate whether earlier ones have ended or
// not, as requests come to gateways. The keys of a group take turns.
type traffic struct {
	gateways [groups][]gateway
	keys     *keys
	rate     int // calls a second, of all gateways together
	random   *rand.Rand

	quiet atomic.Bool // no call begins
	calls sync.WaitGroup
}

// beat is how often it is looked which calls are due.
const beat = 2 * time.Millisecond

// run makes load until ctx ends, and returns when all calls have ended; these are not cut off.
func (t *traffic) run(ctx context.Context) {
	calls := context.WithoutCancel(ctx)
	var orders [groups][]int
	for g := range orders {
		from, to := t.keys.of(g)
		orders[g] = t.random.Perm(to - from)
		for i := range orders[g] {
			orders[g][i] += from
		}
	}
	start, begun := time.Now(), 0
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t.calls.Wait()
			return
		case <-ticker.C:
		}
		for due := int(time.Since(start).Seconds() * float64(t.rate)); begun < due; begun++ {
			if t.quiet.Load() {
				continue
			}
			group := begun % groups
			turn := begun / groups
			key := orders[group][turn%len(orders[group])]
			// The first of the gateways has the key in one round of all keys, and the next in the next.
			g := t.gateways[group][(turn+turn/len(orders[group]))%len(t.gateways[group])]
			t.calls.Go(func() { g.check(calls, key) })
		}
	}
}

// hush lets no call begin, and waits until those under way have ended.
func (t *traffic) hush() {
	t.quiet.Store(true)
	time.Sleep(2 * beat) // what is beginning has begun
	t.calls.Wait()
}
