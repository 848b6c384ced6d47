package httplimit

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/contract"
)

// A LastKnown remembers what the last decisions said, so that responses without
// a decision can carry rate-limit headers too. It is bounded, and holds hashes
// of keys, under a seed of its own, never the keys. It may be used from many
// goroutines.
type LastKnown struct {
	seed maphash.Seed
	half int // entries in each of the two maps

	mu sync.Mutex
	// Every decision is written to recent. When recent is full it becomes older,
	// and what was older is forgotten: so the last half keys are always known.
	recent, older map[uint64]known
}

type known struct {
	limit, remaining uint32
	reset            time.Time
}

// NewLastKnown returns an empty LastKnown for at most size keys, at least 2.
func NewLastKnown(size int) (*LastKnown, error) {
	if size < 2 {
		return nil, fmt.Errorf("httplimit: size of last-known values is %d, must be at least 2", size)
	}
	return &LastKnown{seed: maphash.MakeSeed(), half: size / 2, recent: map[uint64]known{}}, nil
}

// RateLimit returns the headers for a response about key at time now: the first
// of these that there is.
//
//   - those of d if it says what the limit is; they are then remembered;
//   - nothing left of limit if d denies without a limit, as it does an unknown key;
//   - what was last remembered for key;
//   - all of limit, if nothing is known.
//
// Retry-After is not among them: Denial says when one is due.
func (l *LastKnown) RateLimit(key string, limit uint32, d client.Decision, now time.Time) contract.RateLimit {
	id := maphash.String(l.seed, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Decided() && d.Limit > 0 {
		l.keepLocked(id, known{d.Limit, d.Remaining, now.Add(d.Reset)})
		return contract.RateLimit{Limit: d.Limit, Remaining: d.Remaining, Reset: d.Reset}
	}
	if d.Decided() && !d.Allowed {
		return contract.RateLimit{Limit: limit}
	}
	k, ok := l.recent[id]
	if !ok {
		k, ok = l.older[id]
	}
	if !ok {
		return contract.RateLimit{Limit: limit, Remaining: limit}
	}
	return contract.RateLimit{Limit: k.limit, Remaining: k.remaining, Reset: max(0, k.reset.Sub(now))}
}

func (l *LastKnown) keepLocked(id uint64, k known) {
	if _, ok := l.recent[id]; !ok && len(l.recent) >= l.half {
		l.older, l.recent = l.recent, make(map[uint64]known, l.half)
	}
	l.recent[id] = k
}
