package limiter

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// gridShift is a multiple of the quantum of every tier in stepTiers. Shifted by it a copy
// sees the same quanta begin and end as the holder: it is then to be told from it by
// nothing. By another, of tiers with limits above 10,000 its quanta lie otherwise.
const gridShift = 2_592_000 * time.Millisecond

func sharedTable(t failer, c Config) *Table {
	t.Helper()
	c.Partitions, c.Shared = 2, true
	if c.MaxKeys == 0 {
		c.MaxKeys = 1000
	}
	table, err := NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// pair is a table that decides and one that follows it.
type pair struct {
	t            failer
	r            *rand.Rand
	holder, copy *Table
	shift        time.Duration // what the copy is told
	add          time.Duration // what that comes to
	now          Instant       // the holder's
	tiers        []*Tier
	refs         []LeaseRef
	copied       bool
	followed     Instant    // when the copy was last up to date
	decided      [2]Instant // when each partition was last, or its leases prolonged
}

func newPair(t failer, r *rand.Rand, shift time.Duration, tiers []*Tier) *pair {
	p := &pair{t: t, r: r, holder: sharedTable(t, Config{}), copy: sharedTable(t, Config{}), shift: shift, tiers: tiers}
	p.add = shift.Truncate(time.Millisecond)
	if shift > p.add {
		p.add += time.Millisecond
	}
	p.now = Instant(100 * 24 * time.Hour)
	for i := range PartitionID(2) {
		p.holder.Permit(i, forEver)
		p.holder.Record(i, true)
	}
	return p
}

func (p *pair) key() Key {
	n := p.r.Uint64N(3)
	return Key{PartitionID(n % 2), Identity{n, n << 60}}
}

// follow brings the copy up to date.
func (p *pair) follow() {
	p.t.Helper()
	for i := range PartitionID(2) {
		c := p.holder.Take(i)
		if !p.copied {
			b, last := p.holder.Snapshot(nil, i, 0)
			if last < c.Last {
				p.t.Fatalf("a snapshot up to change %d after change %d was taken", last, c.Last)
			}
			if err := p.copy.Install(i, b, p.shift, p.now.Add(p.add)); err != nil {
				p.t.Fatal(err)
			}
			continue
		}
		if c.Last == 0 {
			continue
		}
		p.copy.ExpectChanges(i, c.Bytes)
		if err := p.copy.Apply(i, c.Bytes, p.shift, p.now.Add(p.add)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.copied, p.followed = true, p.now
}

// ask has both sides answer the same, or the holder alone.
func (p *pair) ask(both bool) {
	p.t.Helper()
	key, tier := p.key(), p.tiers[p.r.IntN(len(p.tiers))]
	cost := Cost(p.r.IntN(3))
	if p.r.IntN(6) == 0 {
		cost = Cost(p.r.Uint32N(tier.Limit() + 1))
	}
	a := &Acquisition{
		Key: key, Tier: tier, Run: RunHash{p.r.Uint64N(6), 0}, TaskID: "task", RunID: "run",
		TTL: MinTTL * time.Duration(1+p.r.IntN(20)), Nonce: p.r.Uint64(),
	}
	if p.r.IntN(2) == 0 {
		a.Cost = &cost
	}
	var ref LeaseRef
	if len(p.refs) > 0 {
		ref = p.refs[p.r.IntN(len(p.refs))]
	}
	kind := p.r.IntN(40)
	idle := min(p.now.Sub(p.decided[key.Partition]), 5*time.Minute)
	if kind < 28 || kind == 37 || kind == 38 {
		p.decided[key.Partition] = p.now
	} else {
		p.decided = [2]Instant{p.now, p.now}
	}
	var granted Grant
	do := func(table *Table, now Instant) any {
		switch {
		case kind < 25:
			return table.Check(key, tier, cost, now)
		case kind < 28:
			d, states := table.Explain(key, tier, cost, now)
			return []any{d, states}
		case kind < 33:
			g, err := table.Acquire(a, now)
			granted = g
			return []any{g, err}
		case kind < 35:
			left, err := table.Renew(ref, a.TTL, nil, now)
			return []any{left, err}
		case kind < 37:
			ok, err := table.Release(ref, now)
			return []any{ok, err}
		case kind < 38:
			found, err := table.Reset(key, now)
			return []any{found, err}
		case kind < 39:
			table.Prolong(key.Partition, idle, now)
		default:
			table.Sweep(now, 3)
		}
		return nil
	}
	want := do(p.holder, p.now)
	if granted.Granted {
		p.refs = append(p.refs, LeaseRef{Key: key, Run: a.Run, Nonce: granted.Nonce})
	}
	if !both {
		return
	}
	if got := do(p.copy, p.now.Add(p.add)); !reflect.DeepEqual(got, want) {
		p.t.Fatalf("request %d of %v with %s, cost %d, shift %v:\n copy   %+v\n holder %+v", kind, key, tier.Name(), cost, p.shift, got, want)
	}
}

// step moves the time on.
func (p *pair) step() {
	gap := time.Duration(p.r.Int64N(int64(3 * time.Millisecond)))
	switch p.r.IntN(20) {
	case 0:
		gap = time.Duration(p.r.Int64N(int64(2 * time.Minute)))
	case 1, 2, 3:
		gap = time.Duration(p.r.Int64N(int64(time.Second)))
	case 4:
		if p.r.IntN(20) == 0 {
			gap = time.Duration(p.r.Int64N(int64(40 * 24 * time.Hour)))
		}
	}
	p.now = p.now.Add(gap)
}

// A copy that had a snapshot and every change since decides, once it is permitted, as the
// holder would have, later by the shift in whole milliseconds.
func TestCopyDecidesAsTheHolder(t *testing.T) {
	fine := make([]*Tier, 0, len(stepTiers))
	for _, tier := range stepTiers {
		if tier.maxLimit <= fineLimit {
			fine = append(fine, tier)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		tiers, shift := fine, time.Duration(r.Int64N(int64(200*time.Hour)))-100*time.Hour
		if r.IntN(2) == 0 {
			tiers, shift = stepTiers, gridShift*time.Duration(r.IntN(100)-50)
		}
		if r.IntN(2) == 0 { // a few tiers, so that histories fill
			tiers = []*Tier{tiers[r.IntN(len(tiers))], tiers[r.IntN(len(tiers))], tiers[r.IntN(len(tiers))]}
		}
		p := newPair(rt, r, shift, tiers)
		for range r.IntN(200) {
			p.step()
			p.ask(false)
		}
		for range r.IntN(300) {
			p.step()
			p.ask(false)
			if r.IntN(5) == 0 {
				p.follow()
			}
			if r.IntN(10) == 0 && p.copied && p.now.Sub(p.followed) < copyGrace {
				p.copy.Sweep(p.now.Add(p.add), 3)
			}
		}
		p.follow()
		p.follow()
		for i := range PartitionID(2) {
			p.holder.Permit(i, 0)
			p.holder.Permit(i, forEver)
			p.copy.Permit(i, forEver)
		}
		for range 200 {
			p.step()
			p.ask(true)
		}
		for range 2 { // the first may begin in the middle
			p.holder.Sweep(p.now, 1000)
			p.copy.Sweep(p.now.Add(p.add), 1000)
		}
		if a, b := p.holder.Keys(), p.copy.Keys(); a != b || b != p.copy.KeysOf(0)+p.copy.KeysOf(1) {
			rt.Fatalf("the holder has %d keys, the copy %d", a, b)
		}
	})
}

// Whatever a shift is, and if it changes from one delivery to the next, hits never expire
// early on a copy, and late by no more than their quantum, a millisecond and what the
// shifts are too much.
func TestCopyNeverForgetsEarly(t *testing.T) {
	type hit struct {
		at    Instant
		units uint64
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		tier := stepTiers[r.IntN(len(stepTiers))]
		offset := time.Duration(r.Int64N(int64(time.Hour)))
		p := newPair(rt, r, 0, []*Tier{tier})
		key := Key{0, Identity{1, 1}}
		var hits []hit
		cost := func() Cost { return Cost(1 + r.Uint32N(1+tier.Limit()/uint32(1+r.IntN(50)))) }
		follow := func() {
			late := time.Duration(r.Int64N(int64(3 * time.Millisecond)))
			p.shift, p.add = offset+late, offset // the true time there is offset later
			p.follow()
			if r.IntN(3) == 0 {
				p.copy.Sweep(p.now.Add(offset), 10)
			}
		}
		check := func(table *Table, now Instant) {
			c := cost()
			allowed := table.Check(key, tier, c, now).Allowed
			for i, w := range tier.Windows() {
				used, mayUse := uint64(0), uint64(0)
				for _, h := range hits {
					if h.at.Add(w.Per) > p.now {
						used += h.units
					}
					if h.at.Add(w.Per+time.Duration(tier.quantum+5)*time.Millisecond) > p.now {
						mayUse += h.units
					}
				}
				if allowed && used+uint64(c) > uint64(w.Limit) {
					rt.Fatalf("window %d holds %d of %d and %d more were admitted", i, used, w.Limit, c)
				}
				if !allowed && mayUse+uint64(c) > uint64(w.Limit) {
					return
				}
			}
			if !allowed && uint32(c) <= tier.Limit() {
				rt.Fatalf("cost %d was denied though no window is full", c)
			}
			if allowed {
				hits = append(hits, hit{p.now, uint64(c)})
			}
		}
		gap := func() {
			p.now = p.now.Add(time.Duration(r.Int64N(tier.horizon*int64(time.Millisecond)/int64(1+r.IntN(100)) + 1)))
		}
		for range r.IntN(200) {
			gap()
			check(p.holder, p.now)
			if r.IntN(4) == 0 {
				follow()
			}
		}
		follow()
		follow()
		p.copy.Permit(0, forEver)
		for range 100 {
			gap()
			check(p.copy, p.now.Add(offset))
		}
	})
}

// What was taken of several partitions shares memory, and is not touched by what is recorded or
// taken later, however much that is.
func TestTakenChangesStay(t *testing.T) {
	table := sharedTable(t, Config{LargestLimit: MaxLimit})
	tier := mustTier(t, Window{MaxLimit, time.Minute})
	now := Instant(time.Hour)
	for p := range PartitionID(2) {
		table.Permit(p, forEver)
		table.Record(p, true)
	}
	memory := make([]byte, 0, 64<<10)
	buf, last := memory, [2]uint64{}
	var taken []Changes
	var as [][]byte
	for round := range 40 {
		for p := range PartitionID(2) {
			for n := range uint64(1 + round*round%23) {
				table.Check(Key{p, Identity{n, n << 60}}, tier, 1, now.Add(time.Duration(round)))
			}
			if round == 20 { // more than is kept room for
				for range 2 * keptBytes / 16 {
					table.Check(Key{p, Identity{1, 1 << 60}}, tier, 1, now.Add(time.Duration(round)))
				}
			}
			var c Changes
			c, buf = table.TakeInto(buf, p)
			if c.First != last[p]+1 || c.Last < c.First || cap(c.Bytes) != len(c.Bytes) {
				t.Fatalf("after change %d: %d to %d, with room for %d bytes more", last[p], c.First, c.Last, cap(c.Bytes)-len(c.Bytes))
			}
			last[p] = c.Last
			taken, as = append(taken, c), append(as, bytes.Clone(c.Bytes))
		}
	}
	for i, c := range taken {
		if !bytes.Equal(c.Bytes, as[i]) {
			t.Errorf("changes %d to %d were written over", c.First, c.Last)
		}
	}
	if c, rest := table.TakeInto(buf, 0); c.Last != 0 || len(rest) != len(buf) {
		t.Errorf("nothing was left to take, but there is %+v", c)
	}
}

// Changes that overlap with what a copy has are made once.
func TestApplyFromSkipsWhatIsThere(t *testing.T) {
	p := newPair(t, rand.New(rand.NewPCG(1, 1)), time.Hour, stepTiers)
	key, tier := Key{0, Identity{1, 1}}, mustTier(t, Window{100, time.Minute})
	hits := func(n int) {
		for range n {
			p.now += 1000
			p.holder.Check(key, tier, 1, p.now)
		}
	}
	hits(7)
	snapshot, last := p.holder.Snapshot(nil, 0, 0)
	hits(5)
	c := p.holder.Take(0)
	if c.First != 1 || c.Last != last+5 || last != 8 { // the first change: the largest limit
		t.Fatalf("changes %d to %d, a snapshot up to %d", c.First, c.Last, last)
	}
	if more := p.holder.Take(0); more.Last != 0 || more.Bytes != nil {
		t.Fatalf("taken twice: %+v", more)
	}
	at := p.now.Add(time.Hour)
	if err := p.copy.Install(0, snapshot, p.shift, at); err != nil {
		t.Fatal(err)
	}
	if err := p.copy.ApplyFrom(0, c.Bytes, c.First, last+1, p.shift, at); err != nil {
		t.Fatal(err)
	}
	p.copy.Permit(0, forEver)
	if d := p.copy.Check(key, tier, 0, at); d.Remaining != 88 {
		t.Fatalf("%d remain of 100 after 12", d.Remaining)
	}
}

// A snapshot since an instant lacks the units of before, and no lease.
func TestSnapshotSince(t *testing.T) {
	p := newPair(t, rand.New(rand.NewPCG(1, 1)), 0, stepTiers)
	key, tier := Key{0, Identity{1, 1}}, mustTier(t, Window{100, time.Minute})
	p.holder.Acquire(&Acquisition{Key: key, Tier: tier, TTL: MaxTTL}, p.now)
	p.holder.Check(Key{0, Identity{2, 2}}, tier, 1, p.now)
	for range 10 {
		p.now = p.now.Add(time.Millisecond)
		p.holder.Check(key, tier, 1, p.now)
	}
	b, _ := p.holder.Snapshot(nil, 0, p.now.Add(-3*time.Millisecond))
	if err := p.copy.Install(0, b, 0, p.now); err != nil {
		t.Fatal(err)
	}
	ks, ok := p.copy.Inspect(key, p.now)
	if !ok || len(ks.History) != 3 || ks.History[2] != (Entry{p.now, 1}) || p.copy.Keys() != 1 {
		t.Errorf("%d keys, %+v", p.copy.Keys(), ks)
	}
}

// A copy is not bounded by the table's keys, but its keys leave no room for new ones.
func TestCopiesCountAsKeys(t *testing.T) {
	p := newPair(t, rand.New(rand.NewPCG(1, 1)), 0, stepTiers)
	p.copy = sharedTable(t, Config{MaxKeys: 3})
	tier := mustTier(t, Window{100, time.Minute})
	for i := range uint64(10) {
		p.holder.Check(Key{0, Identity{i, i << 50}}, tier, 1, p.now)
	}
	p.follow()
	if p.copy.Keys() != 10 || p.copy.KeysOf(0) != 10 {
		t.Fatalf("%d keys, %d in the partition", p.copy.Keys(), p.copy.KeysOf(0))
	}
	p.copy.Permit(1, forEver)
	if d := p.copy.Check(Key{1, Identity{1, 1}}, tier, 1, p.now); d.Reason != ReasonTableFull {
		t.Errorf("a new key in a full table: %+v", d)
	}
	p.copy.Clear(0)
	if p.copy.Keys() != 0 || len(p.copy.records.free) != int(p.copy.records.next) {
		t.Errorf("%d keys after all was forgotten, pages %d of %d free", p.copy.Keys(), len(p.copy.records.free), p.copy.records.next)
	}
}

// What came before the reader's origin counts from there, and instants far ahead of it
// are refused.
func TestShiftsBeyondTheOrigin(t *testing.T) {
	p := newPair(t, rand.New(rand.NewPCG(1, 1)), 0, stepTiers)
	key, tier := Key{0, Identity{1, 1}}, mustTier(t, Window{100, time.Minute})
	for range 5 {
		p.now = p.now.Add(time.Millisecond)
		p.holder.Check(key, tier, 1, p.now)
	}
	b, _ := p.holder.Snapshot(nil, 0, 0)
	c := p.holder.Take(0)
	shift := -p.now.Sub(0) - time.Second
	for name, load := range map[string]func(*Table) error{
		"a snapshot": func(to *Table) error { return to.Install(0, b, shift, 0) },
		"changes":    func(to *Table) error { return to.Apply(0, c.Bytes, shift, 0) },
	} {
		to := sharedTable(t, Config{})
		to.Permit(0, forEver)
		if err := load(to); err != nil {
			t.Fatal(name, err)
		}
		for _, at := range []struct {
			now       time.Duration
			remaining uint32
		}{{0, 95}, {time.Minute - 1, 95}, {time.Minute, 100}} {
			if d := to.Check(key, tier, 0, Instant(at.now)); d.Remaining != at.remaining {
				t.Errorf("%s: %d remain at %v, want %d", name, d.Remaining, at.now, at.remaining)
			}
		}
	}
	if p.copy.Install(0, b, 2*time.Hour, p.now) == nil || p.copy.Apply(0, c.Bytes, 2*time.Hour, p.now) == nil || p.copy.Keys() != 0 {
		t.Error("hits of the future were taken")
	}
}
