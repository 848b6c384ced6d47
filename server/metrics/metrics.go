package metrics

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// stripes is how many counters hold one count, each on cache lines of its own.
const stripes = 8

// A Stripe is one of the sets of counters.
type Stripe uint8

// AnyStripe returns a Stripe for one call, at random.
func AnyStripe() Stripe { return Stripe(rand.Uint32() % stripes) }

// Metrics are the counts of one node. They are safe for concurrent use.
type Metrics struct {
	calls [stripes]callCounts

	mu    sync.Mutex // guards tiers
	tiers map[string]*Tier
}

// New returns Metrics at zero.
func New() *Metrics { return &Metrics{tiers: make(map[string]*Tier)} }

// Tier returns the counts of the tier of that name, "" for keys that have none. They live
// as long as m: a tier that is gone from the policy and comes back goes on counting.
func (m *Metrics) Tier(name string) *Tier {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tiers[name]
	if !ok {
		t = new(Tier)
		m.tiers[name] = t
	}
	return t
}

// add adds up one counter of each stripe.
func add(counter func(s Stripe) *atomic.Uint64) (sum uint64) {
	for s := range Stripe(stripes) {
		sum += counter(s).Load()
	}
	return sum
}
