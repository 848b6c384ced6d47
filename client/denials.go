package client

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	// denialFor bounds how long a denial is remembered: what changes it before
	// its time, as a raised limit, is seen that late.
	denialFor = time.Second

	// turnFor is for how long others leave it to one caller to ask again: they repeat the
	// denial as long, or wait if it has ended. Else each that comes before that one's answer
	// would ask too.
	turnFor = 50 * time.Millisecond

	// few units that are left are taken one by one: most of a crowd would be denied.
	few = 16

	// denialSets times denialWays bounds how many are remembered. More than denialWays
	// that want the same set displace each other, which costs calls and nothing else.
	denialSets = 1 << 14
	denialWays = 4
)

// denials remembers rate denials for as long as they must repeat themselves, so
// that a key which keeps asking costs the limiter about one call a second, however many
// ask for it at the same time. Keys are known by a hash that differs from process to process.
type denials struct {
	seed maphash.Seed
	born time.Time
	// last is until when the last of them concerns anybody, in nanoseconds since born. While none
	// does, which is mostly so, none is looked for: that would be a wait for memory.
	last atomic.Int64
	sets [denialSets]denialSet
}

type denialSet [denialWays]atomic.Pointer[denial]

// A denial is what one key, in one tier and for one cost, was denied: others pass at other times.
//
//	now ── renew ────────────── until ─────────────────── until + denialFor
//	 all repeat │ one asks,        │ one asks, and others    │ it is as if it had
//	 it         │ others repeat it │ wait for what it hears  │ never been
type denial struct {
	hash         uint64
	cost         uint32
	renew, until time.Time
	passes       time.Time // when the cost would pass, as the caller was told
	decision     Decision

	taken atomic.Bool   // someone asks again,
	asked chan struct{} // which is closed when that has been answered, and the denial is found no more
}

func newDenials() *denials { return &denials{seed: maphash.MakeSeed(), born: time.Now()} }

func (d *denials) hash(r *CheckRequest) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	h.WriteString(r.Tier)
	h.WriteByte(0xff) // in no tier, as that is UTF-8
	h.WriteString(r.Key)
	maphash.WriteComparable(&h, costOf(r))
	return h.Sum64()
}

func (d *denials) set(hash uint64) *denialSet { return &d.sets[hash%denialSets] }

// find returns the denial of that hash, and where it is; nil: there is none.
func (s *denialSet) find(hash uint64) (e *denial, at *atomic.Pointer[denial]) {
	for i := range s {
		if e = s[i].Load(); e != nil && e.hash == hash {
			return e, &s[i]
		}
	}
	return nil, nil
}

// place returns where there is room for a denial, or the one that ends first.
func (s *denialSet) place() (at *atomic.Pointer[denial]) {
	var first time.Time
	for i := range s {
		e := s[i].Load()
		if e == nil {
			return &s[i]
		}
		if at == nil || e.until.Before(first) {
			at, first = &s[i], e.until
		}
	}
	return at
}

// costOf is the cost by which r is denied: a peek is decided as a cost of 1.
func costOf(r *CheckRequest) uint32 {
	if r.Cost == nil {
		return 1
	}
	return max(*r.Cost, 1)
}

// find returns the denial that concerns r, which may have ended; nil: there is none.
func (d *denials) find(r *CheckRequest, now time.Time) *denial {
	if d == nil || r.Explain || int64(now.Sub(d.born)) > d.last.Load() {
		return nil
	}
	hash := d.hash(r)
	if e, _ := d.set(hash).find(hash); e != nil && now.Sub(e.until) <= denialFor {
		return e
	}
	return nil
}

// repeat returns the denial of r, if the limiter could not decide otherwise at now.
func (d *denials) repeat(r *CheckRequest, now time.Time) (Decision, bool) {
	if e := d.find(r, now); e != nil && now.Before(e.until) && (now.Before(e.renew) || e.taken.Load()) {
		return e.at(now), true
	}
	return Decision{}, false
}

// at is the decision as it is told at now: with waits in whole milliseconds, as the limiter tells
// them, and never too early.
func (e *denial) at(now time.Time) Decision {
	out := e.decision
	out.RetryAfter = (e.passes.Sub(now) + time.Millisecond - 1).Truncate(time.Millisecond)
	out.Reset = out.RetryAfter
	out.Cached = true
	return out
}

// await returns the denial of r, as repeat does. If one has ended it lets the callers that want to
// know more ask one by one, for a moment: each of those has the turn, until it ends it.
func (d *denials) await(ctx context.Context, r *CheckRequest, deadline time.Time) (out Decision, ok bool, turn *denial) {
	var late <-chan time.Time
	for {
		now := time.Now()
		e := d.find(r, now)
		switch {
		case e == nil:
			return Decision{}, false, nil
		case now.Before(e.renew) && now.Before(e.until):
			return e.at(now), true, nil
		case e.taken.CompareAndSwap(false, true):
			return Decision{}, false, e
		case now.Before(e.until):
			return e.at(now), true, nil
		}
		if late == nil {
			late = time.After(min(turnFor, deadline.Sub(now)/2))
		}
		select {
		case <-e.asked:
		case <-late:
			return Decision{}, false, nil
		case <-ctx.Done():
			return Decision{}, false, nil
		}
	}
}

// end ends a turn, whose holder asked at asked and now has heard. That he took the last unit is as
// good as a denial of others, until there is one; while few are left they go on one by one;
// else it is up to them.
func (d *denials) end(turn *denial, heard *Decision, asked, now time.Time) {
	told := heard.Decided() && heard.Allowed // not by the policy of a client that heard nothing
	if told && heard.Remaining == 0 && heard.Reset > 0 && turn.cost == 1 {
		of := *heard
		of.Allowed, of.Reason, of.RetryAfter = false, RateLimited, heard.Reset
		d.remember(turn.hash, turn.cost, of, asked, now)
	}
	var next *denial
	if told && heard.Remaining < few {
		// It has ended, whenever it was to end: nobody is told it any more.
		next = &denial{hash: turn.hash, cost: turn.cost, until: earlier(turn.until, now), decision: turn.decision, asked: make(chan struct{})}
	}
	set := d.set(turn.hash)
	for i := range set {
		set[i].CompareAndSwap(turn, next)
	}
	close(turn.asked)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// note remembers the decision about r, if it is a denial to be remembered. It was
// asked for at asked, and is known at now.
func (d *denials) note(r *CheckRequest, out *Decision, asked, now time.Time) {
	if d == nil || out.Allowed || out.Reason != RateLimited || out.RetryAfter <= 0 {
		return
	}
	d.remember(d.hash(r), costOf(r), *out, asked, now)
}

// remember remembers a denial, if it is more than a guess. The node decided at some time between
// asked and now: it is forgotten as if that was the first, and its wait is told as if it was the
// second.
func (d *denials) remember(hash uint64, cost uint32, of Decision, asked, now time.Time) {
	if of.Exactness != Exact && of.Exactness != Recovering {
		return
	}
	of.Windows = nil
	e := &denial{
		hash: hash, cost: cost, renew: now.Add(denialFor), until: asked.Add(of.RetryAfter), passes: now.Add(of.RetryAfter),
		decision: of, asked: make(chan struct{}),
	}
	if bound := e.renew.Add(turnFor); bound.Before(e.until) {
		e.until = bound
	}
	set := d.set(hash)
	_, at := set.find(hash)
	if at == nil {
		at = set.place()
	}
	at.Store(e)
	concerns := int64(e.until.Add(denialFor).Sub(d.born))
	for last := d.last.Load(); last < concerns && !d.last.CompareAndSwap(last, concerns); last = d.last.Load() {
	}
}
