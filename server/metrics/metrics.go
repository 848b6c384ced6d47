package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stripes is how many counters hold one count, each on cache lines of its own.
const stripes = 8

// A Stripe is one of the sets of counters.
type Stripe uint8

// near has a Stripe for each processor, as a pool keeps what was put back by one for the same:
// so counters stay in the processor's own cache. That it may forget one does no harm.
var (
	near    = sync.Pool{New: func() any { return &numbers[last.Add(1)%stripes] }}
	numbers = [stripes]Stripe{0, 1, 2, 3, 4, 5, 6, 7}
	last    atomic.Uint32
)

// AnyStripe returns a Stripe for one call.
func AnyStripe() Stripe {
	s, _ := near.Get().(*Stripe)
	near.Put(s)
	return *s
}

// Metrics are the counts of one node. They are safe for concurrent use.
type Metrics struct {
	calls  [stripes]callCounts
	policy policyState
	read   atomic.Pointer[func() Readings] // nil: nobody reads

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

// allTiers returns the counts of all tiers by name.
func (m *Metrics) allTiers() map[string]*Tier {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.tiers)
}

// add adds up one counter of each stripe.
func add(counter func(s Stripe) *atomic.Uint64) (sum uint64) {
	for s := range Stripe(stripes) {
		sum += counter(s).Load()
	}
	return sum
}
