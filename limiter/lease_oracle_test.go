package limiter

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Leases behave as a naive list of them does.
func TestLeasesEqualANaiveList(t *testing.T) {
	type entry struct {
		ref    LeaseRef
		expiry Instant
	}
	rapid.Check(t, func(rt *rapid.T) {
		const limit = 3
		b := newBed(t, TierSpec{Concurrent: limit})
		var live, past []entry
		steps := rapid.IntRange(1, 120).Draw(rt, "steps")
		for range steps {
			b.now += Instant(rapid.Int64Range(0, int64(700*time.Millisecond)).Draw(rt, "gap"))
			kept := live[:0:0]
			for _, e := range live {
				if e.expiry > b.now {
					kept = append(kept, e)
				} else {
					past = append(past, e)
				}
			}
			live = kept
			ttl := time.Duration(rapid.IntRange(1, 4).Draw(rt, "ttl")) * time.Second
			pick := func(of []entry) int { return rapid.IntRange(0, len(of)-1).Draw(rt, "which") }
			switch op := rapid.IntRange(0, 5).Draw(rt, "op"); {
			case op <= 1:
				run := fmt.Sprint("run", rapid.IntRange(0, 5).Draw(rt, "run"))
				at := -1
				for i, e := range live {
					if e.ref.Run == b.hasher.Run(run) {
						at = i
					}
				}
				g, ref := b.acquire(b.acquisition("k", run, ttl))
				switch {
				case at >= 0:
					if !g.Granted || ref != live[at].ref || g.ExpiresIn != live[at].expiry.Sub(b.now) {
						rt.Fatalf("again: %+v", g)
					}
				case len(live) == limit:
					if g.Granted || g.Reason != ReasonConcurrencyLimited {
						rt.Fatalf("full: %+v", g)
					}
				default:
					if !g.Granted || g.InUse != uint32(len(live))+1 {
						rt.Fatalf("with %d live: %+v", len(live), g)
					}
					live = append(live, entry{ref, b.now.Add(ttl)})
				}
			case op == 2 && len(live) > 0:
				i := pick(live)
				left, err := b.table.Renew(live[i].ref, ttl, nil, b.now)
				live[i].expiry = max(live[i].expiry, b.now.Add(ttl))
				if err != nil || left != live[i].expiry.Sub(b.now) {
					rt.Fatalf("renew: %v, %v", left, err)
				}
			case op == 3 && len(live) > 0:
				i := pick(live)
				if !b.release(live[i].ref, b.now) {
					rt.Fatalf("a live lease was not released")
				}
				past = append(past, live[i])
				live = append(live[:i:i], live[i+1:]...)
			case op == 4 && len(past) > 0:
				e := past[pick(past)]
				if _, err := b.table.Renew(e.ref, ttl, nil, b.now); err == nil || b.release(e.ref, b.now) {
					rt.Fatalf("a lease that had ended was renewed or released")
				}
			case op == 5:
				b.table.Sweep(b.now, 100)
			}
			if n := b.inUse("k"); n != uint32(len(live)) {
				rt.Fatalf("%d in use, want %d", n, len(live))
			}
		}
	})
}

// TestThousandRunners has 1,000 goroutines acquire, renew, release, let expire and cancel
// runs of a few keys: never are more than the limit in use, and in the end no slot is lost.
func TestThousandRunners(t *testing.T) {
	const limit, keys = 5, 8
	b := newBed(t, TierSpec{Concurrent: limit})
	var clock atomic.Int64
	clock.Store(int64(time.Hour))
	type holding struct {
		ref   LeaseRef
		until Instant // at least
	}
	var held [keys]sync.Map // holdings by run
	// mayLive tells whether nobody has told the table yet that a lease of then is over.
	mayLive := func(then Instant) bool { return Instant(clock.Load()) < then.Add(MinTTL) }
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for turn := range 20 {
				key := r.IntN(keys)
				run := fmt.Sprintf("run-%d-%d", i, turn)
				now := Instant(clock.Add(int64(r.IntN(3)) * int64(time.Millisecond)))
				a := Acquisition{
					Key: b.hasher.Key(fmt.Sprint("key", key)), Tier: b.tier, Run: b.hasher.Run(run), RunID: run,
					TTL: MinTTL, Nonce: r.Uint64(),
				}
				g, err := b.table.Acquire(&a, now)
				if err != nil || g.InUse > limit {
					t.Errorf("%+v, %v", g, err)
					return
				}
				if !g.Granted {
					continue
				}
				ref := LeaseRef{Key: a.Key, Run: a.Run, Nonce: g.Nonce}
				held[key].Store(run, holding{ref, now.Add(MinTTL)})
				switch r.IntN(3) {
				case 0: // it expires
					continue
				case 1:
					if _, err := b.table.Renew(ref, MinTTL, nil, now); err != nil && mayLive(now) {
						t.Errorf("a live lease was not renewed: %v", err)
					}
				}
				held[key].Delete(run)
				if !b.release(ref, now) && mayLive(now) {
					t.Errorf("a live lease was not released")
				}
			}
		})
	}
	wg.Wait()
	b.now = Instant(clock.Load())
	for key := range keys {
		atLeast := uint32(0)
		held[key].Range(func(_, v any) bool {
			if v.(holding).until > b.now {
				atLeast++
			}
			return true
		})
		if n := b.inUse(fmt.Sprint("key", key)); n < atLeast {
			t.Errorf("key %d: %d in use, but %d are held", key, n, atLeast)
		}
		held[key].Range(func(_, v any) bool { b.release(v.(holding).ref, b.now); return true })
		if n := b.inUse(fmt.Sprint("key", key)); n != 0 {
			t.Errorf("key %d: %d in use after all were released", key, n)
		}
	}
	b.now += Instant(MinTTL)
	for key := range keys {
		for slot := range limit {
			b.granted(fmt.Sprint("key", key), fmt.Sprint("last", slot), MinTTL)
		}
	}
}
