package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Traffic is a steady load: calls begin at a fixed rate whether earlier ones have ended or
// not, as requests come to gateways. The keys of a group take turns.
type Traffic struct {
	Gateways [][]Gateway // of each group, of which each has its part of the keys
	Keys     *Keys
	Rate     int // calls a second, of all gateways together
	Random   *rand.Rand
	Quiet    atomic.Bool // no call begins

	calls sync.WaitGroup
}

// beat is how often it is looked which calls are due.
const beat = 2 * time.Millisecond

// Run makes load until ctx ends, and returns when all calls have ended; these are not cut off.
func (t *Traffic) Run(ctx context.Context) {
	calls := context.WithoutCancel(ctx)
	groups := len(t.Gateways)
	orders := make([][]int, groups)
	for g := range orders {
		from, to := t.Keys.Part(g, groups)
		orders[g] = t.Random.Perm(to - from)
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
		for due := int(time.Since(start).Seconds() * float64(t.Rate)); begun < due; begun++ {
			if t.Quiet.Load() {
				continue
			}
			group := begun % groups
			turn := begun / groups
			key := orders[group][turn%len(orders[group])]
			// The first of the gateways has the key in one round of all keys, and the next in the next.
			g := t.Gateways[group][(turn+turn/len(orders[group]))%len(t.Gateways[group])]
			t.calls.Go(func() { g.Check(calls, key) })
		}
	}
}

// Hush lets no call begin, and waits until those under way have ended.
func (t *Traffic) Hush() {
	t.Quiet.Store(true)
	time.Sleep(2 * beat) // what is beginning has begun
	t.calls.Wait()
}
