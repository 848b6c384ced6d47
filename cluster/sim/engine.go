package sim

import (
	"errors"
	"time"

	"github.com/overten/sluice/limiter"
)

// engine is the store that nodes have.
type engine struct {
	*limiter.Table
	tier *limiter.Tier // of every key
}

func newEngine(partitions int, per time.Duration, wake func()) engine {
	table, err1 := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: 1000, Shared: true, MaxBehind: maxBehind, Wake: wake})
	tier, err2 := limiter.NewTier(limiter.TierSpec{Name: "sim", Windows: []limiter.Window{{Limit: limit, Per: per}}, Concurrent: runLimit})
	if err := errors.Join(err1, err2); err != nil {
		panic(err) // of constants
	}
	return engine{table, tier}
}

// hashed returns a key as the engine knows it.
func (k key) hashed() limiter.Key {
	return limiter.Key{Partition: k.p, ID: limiter.IdentityOf(uint64(k.n)+1, 0)}
}

func ref(k key, run, nonce uint64) limiter.LeaseRef {
	return limiter.LeaseRef{Key: k.hashed(), Run: limiter.RunHashOf(run, 0), Nonce: nonce}
}

func (e engine) check(k key, _ uint64, now limiter.Instant) verdict {
	d := e.Check(k.hashed(), e.tier, 1, now)
	return verdict{decided: d.Exactness != limiter.Undecided, ok: d.Allowed, permit: d.Permit}
}

func (e engine) acquire(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict {
	g, err := e.Acquire(&limiter.Acquisition{Key: k.hashed(), Tier: e.tier, Run: limiter.RunHashOf(run, 0), TTL: ttl, Nonce: nonce}, now)
	return verdict{decided: err == nil, ok: g.Granted, permit: g.Permit, nonce: g.Nonce}
}

func (e engine) renew(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict {
	_, err := e.Renew(ref(k, run, nonce), ttl, e.tier, now)
	return e.verdict(k, err == nil, err)
}

func (e engine) release(k key, run, nonce uint64, now limiter.Instant) verdict {
	ok, err := e.Release(ref(k, run, nonce), now)
	return e.verdict(k, ok, err)
}

func (e engine) verdict(k key, ok bool, err error) verdict {
	until, _ := e.PermitOf(k.p)
	return verdict{decided: !errors.Is(err, limiter.ErrUndecided), ok: ok, permit: until}
}

func (e engine) permitOf(p limiter.PartitionID) (limiter.Instant, uint64) { return e.PermitOf(p) }

func (e engine) live(k key, now limiter.Instant) (nonces []uint64) {
	state, _ := e.Inspect(k.hashed(), now)
	for _, l := range state.Leases {
		nonces = append(nonces, l.Nonce)
	}
	return nonces
}

func (e engine) units(k key, now limiter.Instant) (n int) {
	state, _ := e.Inspect(k.hashed(), now)
	for _, entry := range state.History {
		n += int(entry.Units)
	}
	return n
}

// lacks: the engine knows hits by their time only.
func (e engine) lacks(key, uint64) bool { return false }
