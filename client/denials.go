package client

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	// denialFor bounds how long a denial is remembered: what changes it before
	// its time, as a raised limit, is seen a second late at most.
	denialFor = time.Second

	// renewalFor is how much longer all others repeat it once one caller asks again: else
	// each that comes before that one's answer asks too.
	renewalFor = 50 * time.Millisecond

	// denialSlots bounds how many are remembered, a power of two. Two that want the
	// same slot displace each other, which costs calls and nothing else.
	denialSlots = 1 << 16
)

// denials remembers rate denials for as long as they must repeat themselves, so
// that a key which keeps asking costs the limiter about one call a second. Keys are
// known by a hash that differs from process to process.
type denials struct {
	seed  maphash.Seed
	slots [denialSlots]atomic.Pointer[denial]
}

// A denial is what one key, in one tier, was denied.
type denial struct {
	hash     uint64
	cost     uint32
	renew    time.Time // from then on one caller asks again,
	until    time.Time // and from then on all do
	passes   time.Time // when the cost would pass, as the caller was told
	decision Decision

	renewing atomic.Bool // one has asked again
}

func newDenials() *denials { return &denials{seed: maphash.MakeSeed()} }

func (d *denials) hash(r *CheckRequest) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.WriteString(r.Tier)
	h.WriteByte(0xff) // in no tier, as that is UTF-8
	h.WriteString(r.Key)
	return h.Sum64()
}

// costOf is the cost by which r is denied: a peek is decided as a cost of 1.
func costOf(r *CheckRequest) uint32 {
	if r.Cost == nil {
		return 1
	}
	return max(*r.Cost, 1)
}

// find returns the denial of r, if the limiter could not decide otherwise at now. Of those that
// ask for one that is to be renewed the first is told that there is none.
func (d *denials) find(r *CheckRequest, now time.Time) (Decision, bool) {
	if d == nil || r.Explain {
		return Decision{}, false
	}
	hash := d.hash(r)
	e := d.slots[hash%denialSlots].Load()
	// A cost above the limit has another reason to be denied.
	if e == nil || e.hash != hash || !now.Before(e.until) || costOf(r) < e.cost || costOf(r) > e.decision.Limit {
		return Decision{}, false
	}
	if !now.Before(e.renew) && e.renewing.CompareAndSwap(false, true) {
		return Decision{}, false
	}
	out := e.decision
	// In whole milliseconds, as the limiter tells them, and never too early.
	out.RetryAfter = (e.passes.Sub(now) + time.Millisecond - 1).Truncate(time.Millisecond)
	out.Reset = out.RetryAfter
	out.Cached = true
	return out, true
}

// note remembers the decision about r, if it is a denial to be remembered. It was
// asked for at asked, and is known at now.
func (d *denials) note(r *CheckRequest, out *Decision, asked, now time.Time) {
	if d == nil || out.Allowed || out.Reason != RateLimited || out.RetryAfter <= 0 ||
		out.Exactness != Exact && out.Exactness != Recovering {
		return
	}
	// The node decided at some time between the two: the denial is forgotten as if
	// that was the first, and its wait is told as if it was the second.
	ends, renew := asked.Add(out.RetryAfter), now.Add(denialFor)
	e := &denial{
		hash: d.hash(r), cost: costOf(r), renew: renew, until: earlier(ends, renew.Add(renewalFor)),
		passes: now.Add(out.RetryAfter), decision: *out,
	}
	e.decision.Windows = nil
	slot := &d.slots[e.hash%denialSlots]
	if old := slot.Load(); old != nil && old.hash == e.hash && old.cost < e.cost && now.Before(old.renew) {
		return // it denies more
	}
	slot.Store(e)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
