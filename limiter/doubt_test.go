package limiter

import (
	"errors"
	"testing"
	"time"
)

// A decision is told as doubtful until its own longest window has passed since.
func TestDoubtLastsAsLongAsTheWindow(t *testing.T) {
	table := sharedTable(t, Config{})
	table.Permit(0, forEver)
	brief, long := mustTier(t, Window{10, time.Second}), mustTier(t, Window{10, time.Minute})
	since := Instant(time.Hour)
	told := func(tier *Tier, after time.Duration) Exactness {
		e := table.Check(Key{}, tier, 1, since.Add(after)).Exactness
		if d, _ := table.Explain(Key{}, tier, 0, since.Add(after)); d.Exactness != e {
			t.Errorf("checked as %d, explained as %d", e, d.Exactness)
		}
		if g, _ := table.Acquire(&Acquisition{Tier: tier}, since.Add(after)); g.Exactness != e {
			t.Errorf("checked as %d, acquired as %d", e, g.Exactness)
		}
		return e
	}
	if e := told(brief, 0); e != Exact {
		t.Errorf("without a doubt: %d", e)
	}
	table.Doubt(0, Degraded, since, false)
	table.Doubt(0, Recovering, since.Add(30*time.Second), false)
	table.Doubt(0, Exact, since, false) // says nothing
	for _, c := range []struct {
		tier  *Tier
		after time.Duration
		want  Exactness
	}{
		{brief, time.Second - 1, Degraded}, {long, time.Minute - 1, Degraded}, {brief, time.Minute, Exact}, {long, time.Minute, Recovering},
		{long, 90*time.Second - 1, Recovering}, {long, 90 * time.Second, Exact},
	} {
		table.partitions[0].clock = 0
		if e := told(c.tier, c.after); e != c.want {
			t.Errorf("%v after: %d, want %d", c.after, e, c.want)
		}
	}
	table.Sweep(since.Add(MaxPer+30*time.Second), 10)
	if table.partitions[0].doubts != nil {
		t.Error("a doubt that is over is kept")
	}
}

// While limits count half, waits are honest: also if what ends them is that limits count
// whole again.
func TestHalfLimits(t *testing.T) {
	for _, c := range []struct {
		name             string
		limit            uint32
		used             uint32 // before the doubt
		at               time.Duration
		cost             Cost
		allowed          bool
		remaining        uint32
		reset, wait      time.Duration
		reason           Reason
		half, thenPasses bool
	}{
		{name: "rounded up", limit: 7, cost: 4, allowed: true, remaining: 0, reset: time.Minute},
		{name: "at least one", limit: 1, cost: 1, allowed: true, remaining: 0, reset: time.Minute},
		{name: "beyond the half, within the whole", limit: 10, cost: 6, remaining: 5, wait: time.Minute, reset: time.Minute, reason: ReasonRateLimited},
		{name: "beyond the whole", limit: 10, cost: 11, remaining: 5, reset: time.Minute, reason: ReasonCostExceedsLimit},
		{name: "full until limits are whole", limit: 10, used: 8, at: 30 * time.Second, cost: 2, wait: 30 * time.Second, reset: 30 * time.Second, reason: ReasonRateLimited},
	} {
		table := sharedTable(t, Config{})
		table.Permit(0, forEver)
		tier := mustTier(t, Window{c.limit, time.Minute})
		since := Instant(time.Hour)
		table.Check(Key{}, tier, Cost(c.used), since)
		table.Doubt(0, Degraded, since, true)
		now := since.Add(c.at)
		d := table.Check(Key{}, tier, c.cost, now)
		if d.Allowed != c.allowed || d.Remaining != c.remaining || d.Reset != c.reset || d.RetryAfter != c.wait || d.Reason != c.reason {
			t.Errorf("%s: %+v", c.name, d)
		}
		if c.wait == 0 {
			continue
		}
		if d := table.Check(Key{}, tier, c.cost, now.Add(c.wait-time.Millisecond)); d.Allowed {
			t.Errorf("%s: it passed a millisecond early", c.name)
		}
		if d := table.Check(Key{}, tier, c.cost, now.Add(c.wait)); !d.Allowed {
			t.Errorf("%s: %+v after %v", c.name, d, c.wait)
		}
	}
}

// While in doubt a partition takes up the leases that are renewed and that it does not know,
// over the limit if need be; never one that was released.
func TestRenewAdopts(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	lost := LeaseRef{Key: b.hasher.Key("k"), Run: b.hasher.Run("lost"), Nonce: 7}
	part := lost.Key.Partition
	b.granted("k", "other", MaxTTL)
	renew := func(ref LeaseRef, adopt *Tier) error {
		_, err := b.table.Renew(ref, 30*time.Second, adopt, b.now)
		return err
	}
	if err := renew(lost, b.tier); !errors.Is(err, ErrGone) {
		t.Errorf("without a doubt: %v", err)
	}
	b.table.Doubt(part, Recovering, b.now, false)
	if err := renew(lost, nil); !errors.Is(err, ErrGone) {
		t.Errorf("without a tier: %v", err)
	}
	b.now = b.now.Add(MaxTTL - 10*time.Second)
	b.table.Renew(LeaseRef{}, MinTTL, nil, b.now)
	if err := renew(lost, b.tier); err != nil || b.inUse("k") != 2 {
		t.Fatalf("%v, %d in use", err, b.inUse("k"))
	}
	if g, _ := b.acquire(b.acquisition("k", "more", MinTTL)); g.Granted {
		t.Error("a run was granted over the limit")
	}
	a := b.acquisition("k", "lost", MinTTL)
	a.TaskID = "task"
	if g, ref := b.acquire(a); !g.Granted || ref.Nonce != lost.Nonce || g.ExpiresIn != 30*time.Second {
		t.Errorf("the run of an adopted lease: %+v", g)
	}
	if a.TaskID = "another"; true {
		if _, err := b.table.Acquire(a, b.now); !errors.Is(err, ErrConflict) {
			t.Errorf("then with another task: %v", err)
		}
	}
	if !b.release(lost, b.now) {
		t.Error("not released")
	}
	if err := renew(lost, b.tier); !errors.Is(err, ErrGone) {
		t.Errorf("after its release: %v", err)
	}
	second := LeaseRef{Key: lost.Key, Run: b.hasher.Run("other"), Nonce: 9}
	if err := renew(second, b.tier); !errors.Is(err, ErrGone) {
		t.Errorf("a run that has another lease: %v", err)
	}
	b.now = b.now.Add(10 * time.Second)
	if err := renew(LeaseRef{Key: lost.Key, Run: b.hasher.Run("late"), Nonce: 8}, b.tier); !errors.Is(err, ErrGone) {
		t.Errorf("after the doubt: %v", err)
	}
}

// Who decides next gives runs the time back in which nobody could renew.
func TestProlong(t *testing.T) {
	p := newPair(t, nil, 0, nil)
	tier, _ := NewTier(TierSpec{Name: "t", Windows: []Window{{10, time.Minute}}, Concurrent: 1})
	ref := LeaseRef{Nonce: 1}
	p.holder.Acquire(&Acquisition{Tier: tier, TTL: MinTTL, Nonce: 1}, p.now)
	p.follow()
	p.now = p.now.Add(MinTTL + time.Second)
	p.copy.Sweep(p.now, 10)
	p.copy.Prolong(0, MinTTL+time.Second, p.now)
	p.copy.Permit(0, forEver)
	if left, err := p.copy.Renew(ref, MinTTL, nil, p.now); err != nil || left != MinTTL {
		t.Errorf("renewed: %v, %v", left, err)
	}
	held, more := p.copy.Leases(0, nil, 10, p.now)
	if len(held) != 1 || more || held[0].Of != (Identity{}) || held[0].Nonce != 1 || held[0].Tier != "t" {
		t.Errorf("told are %+v, and more: %v", held, more)
	}
	for _, of := range []*Identity{nil, {}, {1, 1}} {
		known := of == nil || *of == Identity{}
		if held, more := p.copy.Leases(0, of, 0, p.now); len(held) > 0 || more != known {
			t.Errorf("of %v told are %+v, and more: %v", of, held, more)
		}
	}
	if held, more := p.copy.Leases(0, nil, 10, p.now.Add(MinTTL)); len(held) > 0 || more {
		t.Errorf("told are %+v, and more: %v", held, more)
	}
}

// Inspect tells what is counted, newest entries first to be kept; Reset forgets it.
func TestInspectAndReset(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 2, Windows: []Window{{5000, time.Minute}}})
	key := b.hasher.Key("k")
	if _, ok := b.table.Inspect(key, b.now); ok {
		t.Error("an unknown key was found")
	}
	if found, err := b.table.Reset(key, b.now); found || err != nil {
		t.Errorf("reset of an unknown key: %v, %v", found, err)
	}
	b.granted("k", "live", MaxTTL)
	b.release(b.granted("k", "done", MinTTL), b.now)
	for i := range MaxInspected + 10 {
		b.now = b.now.Add(2 * time.Millisecond)
		b.table.Check(key, b.tier, Cost(1+i%2), b.now)
	}
	ks, ok := b.table.Inspect(key, b.now)
	if !ok || len(ks.History) != MaxInspected || ks.History[MaxInspected-1] != (Entry{b.now, 2}) || ks.History[0].Units != 1 ||
		ks.Horizon != time.Minute || len(ks.Leases) != 1 || ks.Leases[0].RunID != "live" || ks.Tombstones != 0 {
		t.Errorf("%v, %d entries, %v, %+v, %d tombstones", ok, len(ks.History), ks.Horizon, ks.Leases, ks.Tombstones)
	}
	if found, err := b.table.Reset(key, b.now); !found || err != nil {
		t.Errorf("reset: %v, %v", found, err)
	}
	if d := b.table.Check(key, b.tier, 0, b.now); d.Remaining != 5000 || b.inUse("k") != 1 {
		t.Errorf("after a reset %d remain, %d runs", d.Remaining, b.inUse("k"))
	}
}

// Of a history that is too long for an answer the newest ticks are told, whole. It once were the
// newest cells, of which a tick may have two: then 500 entries were told of 1,500, and nothing said
// that there were more.
func TestInspectTellsAsManyTicksAsItMay(t *testing.T) {
	b := newBed(t, TierSpec{Windows: []Window{{5000, time.Minute}}})
	key := b.hasher.Key("k")
	for hits := range 3000 {
		if hits%2 == 0 {
			b.now = b.now.Add(time.Millisecond)
		}
		b.table.Check(key, b.tier, 1, b.now)
	}
	ks, _ := b.table.Inspect(key, b.now)
	if n := len(ks.History); n != MaxInspected {
		t.Fatalf("%d entries of %d are told, want %d", n, 1500, MaxInspected)
	}
	for i, e := range ks.History {
		if want := (Entry{b.now.Add(time.Duration(i+1-MaxInspected) * time.Millisecond), 2}); e != want {
			t.Fatalf("entry %d is %v, want %v", i, e, want)
		}
	}
}

// What is recorded of a partition that nobody has asked for lately is told as of now: by an older
// instant its holder would take the copies to lack it for as long, and stop deciding.
func TestRecordedNowThoughIdle(t *testing.T) {
	const now = Instant(time.Minute)
	for name, record := range map[string]func(*Table){
		"prolonged": func(table *Table) { table.Prolong(0, time.Second, now) },
		"doubt":     func(table *Table) { table.Doubt(0, Recovering, now, false) },
	} {
		table, err := NewTable(Config{Partitions: 1, MaxKeys: 10})
		if err != nil {
			t.Fatal(err)
		}
		table.Record(0, true)
		record(table)
		if c := table.Take(0); c.Last != 1 || c.Since != now {
			t.Errorf("%s: %+v, want one change, decided at %v", name, c, now)
		}
	}
}
