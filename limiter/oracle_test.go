package limiter

import (
	"fmt"
	"slices"
	"time"
)

// oracle is the engine done naively for one key: a list of hits, searched from end to
// end. It has no table, no cells and no arithmetic modulo anything.
type oracle struct {
	hits    []hit
	last    Instant // when the latest hit came
	horizon time.Duration
	coarse  time.Duration // the coarsest quantum of what was admitted
}

type hit struct {
	tick Instant // the end of its quantum
	cost int
}

func (o *oracle) clone() *oracle {
	c := *o
	c.hits = slices.Clone(o.hits)
	return &c
}

// expiry is when hit i leaves a window: by its tick, or by the exact time of the
// latest hit if it is of the latest quantum.
func (o *oracle) expiry(i int, per time.Duration) Instant {
	if o.hits[i].tick == o.hits[len(o.hits)-1].tick {
		return o.last.Add(per)
	}
	return o.hits[i].tick.Add(per)
}

func (o *oracle) used(per time.Duration, now Instant) (units int) {
	for i, h := range o.hits {
		if o.expiry(i, per) > now {
			units += h.cost
		}
	}
	return units
}

// wait is the time to the first expiry at which cost fits w, in whole milliseconds
// rounded up.
func (o *oracle) wait(w Window, cost int, now Instant) time.Duration {
	if o.used(w.Per, now)+cost <= int(w.Limit) {
		return 0
	}
	for i := range o.hits {
		if at := o.expiry(i, w.Per); at > now && o.used(w.Per, at)+cost <= int(w.Limit) {
			ms := (at - now + Instant(time.Millisecond) - 1) / Instant(time.Millisecond)
			return time.Duration(ms) * time.Millisecond
		}
	}
	panic("no wait helps")
}

func (o *oracle) forget(tier *Tier, now Instant) {
	var kept []hit
	for i, h := range o.hits {
		if o.expiry(i, o.horizon) > now {
			kept = append(kept, h)
		}
	}
	if o.hits = kept; len(kept) == 0 {
		o.horizon, o.coarse = 0, 0
	}
	for _, w := range tier.Windows() {
		o.horizon = max(o.horizon, w.Per)
	}
}

func (o *oracle) check(tier *Tier, cost int, now Instant) Decision {
	o.forget(tier, now)
	d := Decision{Exactness: Exact, Allowed: true, Permit: forEver}
	asked := max(cost, 1)
	for _, w := range tier.Windows() {
		if asked > int(w.Limit) {
			d.Allowed, d.Reason, d.RetryAfter = false, ReasonCostExceedsLimit, 0
			break
		}
		if wait := o.wait(w, asked, now); wait > 0 {
			d.Allowed, d.Reason, d.RetryAfter = false, ReasonRateLimited, max(d.RetryAfter, wait)
		}
	}
	if d.Allowed && cost > 0 {
		o.admit(tier, cost, now)
	}
	o.report(tier, now, &d)
	return d
}

func (o *oracle) admit(tier *Tier, cost int, now Instant) {
	quantum := time.Duration(1 << 62)
	for _, w := range tier.Windows() {
		q := time.Millisecond
		if w.Limit > 10_000 {
			q = max(q, (w.Per / 1000).Truncate(time.Millisecond))
		}
		quantum = min(quantum, q)
	}
	ceil := func(t Instant, to time.Duration) Instant { return (t + Instant(to) - 1) / Instant(to) * Instant(to) }
	tick := ceil(now, quantum)
	if n := len(o.hits); n > 0 && tick < o.hits[n-1].tick { // put off by a coarser quantum
		put, before := o.hits[n-1].tick, Instant(-1)
		for _, h := range o.hits {
			if h.tick < put {
				before = h.tick
			}
		}
		for i := range o.hits {
			if o.hits[i].tick == put {
				o.hits[i].tick = max(ceil(o.last, time.Millisecond), before+Instant(time.Millisecond))
			}
		}
	}
	switch n := len(o.hits); {
	case n == 0:
		o.last = now
	case tick <= o.hits[n-1].tick:
		tick = o.hits[n-1].tick
		o.last = max(o.last, now)
	default:
		o.last = max(now, o.hits[n-1].tick)
	}
	o.hits = append(o.hits, hit{tick, cost})
	o.coarse = max(o.coarse, quantum)
}

func (o *oracle) report(tier *Tier, now Instant, d *Decision) {
	left := func(w Window, at Instant) int { return max(0, int(w.Limit)-o.used(w.Per, at)) }
	least, ceiling := 1<<40, 1<<40
	for _, w := range tier.Windows() {
		least, ceiling = min(least, left(w, now)), min(ceiling, int(w.Limit))
	}
	longest := time.Duration(-1)
	for _, w := range tier.Windows() {
		if left(w, now) != least {
			continue
		}
		var grows time.Duration
		if least < int(w.Limit) {
			grows = o.wait(w, least+1, now)
		}
		if grows > longest {
			longest, d.Limit = grows, w.Limit
		}
	}
	d.Remaining = uint32(least)
	if least < ceiling {
		d.Reset = longest
	}
	if d.RetryAfter > 0 {
		d.Reset = d.RetryAfter
	}
}

// stepTiers are the tiers that generated steps draw from.
var stepTiers = func() []*Tier {
	specs := [][]Window{
		{{1, time.Second}},
		{{3, 50 * time.Millisecond}},
		{{10, time.Minute}},
		{{600, time.Minute}},
		{{60, 10 * time.Minute}},
		{{5, time.Second}, {20, 10 * time.Second}},
		{{20, 10 * time.Second}, {5, time.Second}, {100, time.Hour}},
		{{4, 100 * time.Millisecond}, {10, time.Second}, {30, time.Minute}, {70, time.Hour}},
		{{100_000, time.Minute}},
		{{20_000, 10 * time.Second}, {3, 20 * time.Millisecond}},
		{{MaxLimit, 30 * 24 * time.Hour}},
		{{70_000, 2 * time.Second}, {50_000, 90 * time.Second}},
	}
	tiers := make([]*Tier, len(specs))
	for i, windows := range specs {
		t, err := NewTier(TierSpec{Name: fmt.Sprintf("tier%d", i), Windows: windows, Concurrent: 1})
		if err != nil {
			panic(err)
		}
		tiers[i] = t
	}
	return tiers
}()

// failer is what a test, a fuzz target and a property have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// step is one generated request.
type step struct {
	key  int
	tier *Tier
	cost int
	gap  time.Duration // since the one before
}

const stepBytes = 5

// steps reads steps from bytes: any bytes give some. A run keeps mostly to a tier or
// two per key, as histories would hardly fill otherwise.
func steps(data []byte) []step {
	var out []step
	for ; len(data) >= stepBytes; data = data[stepBytes:] {
		s := step{key: int(data[0] % 3), tier: stepTiers[int(data[0]>>2)%len(stepTiers)]}
		if data[1] < 230 { // a key's own tier
			s.tier = stepTiers[(s.key*5+int(data[0]>>7))%len(stepTiers)]
		}
		limit := int(s.tier.Limit())
		switch c := int(data[2]); {
		case c < 150:
			s.cost = 1
		case c < 170:
			s.cost = 0
		case c < 230:
			s.cost = c - 168
		case c < 250:
			s.cost = limit * (c - 229) / 25
		default:
			s.cost = max(0, limit+c-252)
		}
		horizon := time.Duration(s.tier.horizon) * time.Millisecond
		switch g := time.Duration(data[4]); data[3] % 8 {
		case 0, 1:
		case 2:
			s.gap = g * time.Microsecond * 7
		case 3, 4:
			s.gap = g * time.Millisecond
		case 5:
			s.gap = horizon * g / 2560
		case 6:
			s.gap = horizon*g/256 + time.Duration(data[3])
		default:
			s.gap = horizon * g / 128
		}
		out = append(out, s)
	}
	return out
}

// compare runs steps through the engine and the oracle, demands the same answers, and
// checks what each denial promised.
func compare(t failer, all []step) {
	t.Helper()
	var largest uint32
	for _, s := range all {
		largest = max(largest, s.tier.maxLimit)
	}
	table, err := NewTable(Config{Partitions: 2, MaxKeys: 100, LargestLimit: largest})
	if err != nil {
		t.Fatal(err)
	}
	var oracles [3]oracle
	now := Instant(0)
	for i, s := range all {
		now = now.Add(s.gap)
		key := Key{PartitionID(s.key % 2), Identity{uint64(s.key), uint64(s.key) << 60}}
		o := &oracles[s.key]
		before := o.clone()
		want := o.check(s.tier, s.cost, now)
		var got Decision
		var states []WindowState
		if i%4 == 3 {
			got, states = table.Explain(key, s.tier, Cost(s.cost), now)
		} else {
			got = table.Check(key, s.tier, Cost(s.cost), now)
		}
		if got != want {
			t.Fatalf("step %d: key %d, %s, cost %d at %d:\n got %+v\nwant %+v\nhits before: %+v", i, s.key, s.tier.Name(), s.cost, now, got, want, before)
		}
		for j, w := range s.tier.Windows() {
			used := o.used(w.Per, now)
			if states == nil {
				continue
			}
			if st := states[j]; int(st.Used) != used && min(used, int(st.Used)) < int(w.Limit) || int(st.Remaining) != max(0, int(w.Limit)-used) {
				t.Fatalf("step %d: window %d: got %+v, want %d used", i, j, st, used)
			}
			if got.Allowed && s.cost > 0 && used > int(w.Limit) && before.used(w.Per, now)+s.cost <= int(w.Limit) && !o.sliver(w.Per, before, now) {
				t.Fatalf("step %d: window %d holds %d of %d", i, j, used, w.Limit)
			}
		}
		if s.cost%7 == 3 {
			table.Sweep(now, 5)
		}
		checkPromise(t, o, s, now, got)
	}
}

// sliver tells whether a hit had left a window by its exact time and is in it again by
// its tick, as another followed.
func (o *oracle) sliver(per time.Duration, before *oracle, now Instant) bool {
	return o.used(per, now) > before.used(per, now)+o.hits[len(o.hits)-1].cost
}

// checkPromise demands that waiting for RetryAfter admits and a millisecond less does
// not, that no wait is longer than the longest window, that exactly Remaining more
// pass, and that Remaining grows at Reset and not before.
func checkPromise(t failer, o *oracle, s step, now Instant, d Decision) {
	t.Helper()
	at := func(wait time.Duration, cost int) Decision { return o.clone().check(s.tier, cost, now.Add(wait)) }
	if d.RetryAfter > 0 {
		if !at(d.RetryAfter, s.cost).Allowed {
			t.Fatalf("waiting %v does not admit cost %d", d.RetryAfter, s.cost)
		}
		if at(d.RetryAfter-time.Millisecond, s.cost).Allowed {
			t.Fatalf("a millisecond less than %v admits cost %d", d.RetryAfter, s.cost)
		}
		if longest := time.Duration(s.tier.horizon) * time.Millisecond; d.RetryAfter > longest+o.coarse-time.Millisecond {
			t.Fatalf("wait of %v for windows of at most %v", d.RetryAfter, longest)
		}
	}
	if at(0, int(d.Remaining)+1).Allowed || d.Remaining > 0 && !at(0, int(d.Remaining)).Allowed {
		t.Fatalf("remaining %d is not what passes", d.Remaining)
	}
	if d.Allowed && d.Reset > 0 {
		if at(d.Reset, 0).Remaining <= d.Remaining || at(d.Reset-time.Millisecond, 0).Remaining > d.Remaining {
			t.Fatalf("remaining %d does not grow at %v: %s at %d: %+v; then %+v", d.Remaining, d.Reset, s.tier.Name(), now, o, at(d.Reset, 0))
		}
	}
}
