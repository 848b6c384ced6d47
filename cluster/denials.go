package cluster

import (
	"sync"
	"time"

	"github.com/overten/sluice/limiter"
)

// denials remembers what other nodes denied lately, so that a key that is asked for again
// and again costs its holder about one call a second. An entry lasts until the request
// would pass, and a second at most.
type denials struct {
	shards [denialShards]denialShard
}

const (
	denialShards = 64
	denialsEach  = 512 // of a shard; beyond that it is emptied
	denialMost   = time.Second
)

type denialShard struct {
	mu sync.Mutex // guards of
	of map[denialKey]denial
}

type denialKey struct {
	key  limiter.Key
	tier string
	cost uint32
}

type denial struct {
	limiter.Decision
	came  limiter.Instant // when the answer did: its waits are told from then
	until limiter.Instant // how long it is repeated
}

func (d *denials) shard(k limiter.Key) *denialShard { return &d.shards[k.Partition%denialShards] }

// note remembers a decision that another node took between when it was asked and when its answer
// came, if it is a denial that waiting helps. It is repeated no longer than if it was taken at once,
// so that no key is denied that has its room again; its waits are told as if it was taken last, so
// that whoever waits as long has waited long enough.
func (d *denials) note(k denialKey, of limiter.Decision, asked, came limiter.Instant) {
	if of.Reason != limiter.ReasonRateLimited || of.RetryAfter <= 0 || of.Exactness == limiter.Degraded {
		return
	}
	s := d.shard(k.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= denialsEach {
		s.of = make(map[denialKey]denial)
	}
	s.of[k] = denial{of, came, asked.Add(min(of.RetryAfter, denialMost))}
}

// forget forgets all.
func (d *denials) forget() {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.of = nil
		s.mu.Unlock()
	}
}

// find returns what is remembered for a request, with its waits as they are now.
func (d *denials) find(k denialKey, now limiter.Instant) (limiter.Decision, bool) {
	s := d.shard(k.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.of[k]
	if !ok {
		return limiter.Decision{}, false
	}
	if now >= known.until {
		delete(s.of, k)
		return limiter.Decision{}, false
	}
	passed := max(now.Sub(known.came), 0).Truncate(time.Millisecond) // who asks may have read the clock before
	known.RetryAfter -= passed
	known.Reset = max(known.Reset-passed, 0)
	return known.Decision, true
}
