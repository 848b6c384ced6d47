package limiter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// bed is a table with what is needed to take leases in it.
type bed struct {
	t      *testing.T
	table  *Table
	hasher Hasher
	sealer *Sealer
	tier   *Tier
	now    Instant
}

func newBed(t *testing.T, spec TierSpec) *bed {
	t.Helper()
	secrets, err := NewSecrets([]byte("a secret for tests only"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable(Config{Partitions: 7, MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	spec.Name = "test"
	if spec.Windows == nil {
		spec.Windows = []Window{{100, time.Minute}}
	}
	tier, err := NewTier(spec)
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t, table, NewHasher(secrets, 7), NewSealer(secrets, 7), tier, Instant(time.Hour)}
}

func (b *bed) acquisition(key, run string, ttl time.Duration) *Acquisition {
	return &Acquisition{
		Key: b.hasher.Key(key), Tier: b.tier, Run: b.hasher.Run(run), RunID: run, TTL: ttl, Nonce: rand.Uint64(),
	}
}

// acquire asks for a run and returns its grant and the lease's reference.
func (b *bed) acquire(a *Acquisition) (Grant, LeaseRef) {
	b.t.Helper()
	g, err := b.table.Acquire(a, b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	return g, LeaseRef{Key: a.Key, Tier: b.sealer.Tier(a.Tier.Name()), Run: a.Run, Nonce: g.Nonce}
}

// granted demands that the run is granted.
func (b *bed) granted(key, run string, ttl time.Duration) LeaseRef {
	b.t.Helper()
	g, ref := b.acquire(b.acquisition(key, run, ttl))
	if !g.Granted {
		b.t.Fatalf("run %s of %s denied: %+v", run, key, g)
	}
	return ref
}

func (b *bed) release(ref LeaseRef, now Instant) bool { return released(b.table, ref, now) }

func (b *bed) inUse(key string) uint32 {
	b.t.Helper()
	g, _ := b.acquire(&Acquisition{Key: b.hasher.Key(key), Tier: b.tier, TTL: MinTTL, Cost: new(Cost)})
	if g.Granted {
		b.release(LeaseRef{Key: b.hasher.Key(key), Nonce: g.Nonce}, b.now)
		g.InUse--
	}
	return g.InUse
}

// A denied run takes no slot and no unit, and one that is granted takes both.
func TestAcquireIsBothOrNeither(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 2, Windows: []Window{{3, time.Minute}}})
	ask := func(run string, cost Cost) Grant {
		a := b.acquisition("k", run, MinTTL)
		a.Cost = &cost
		g, _ := b.acquire(a)
		return g
	}
	left := func() uint32 { return b.table.Check(b.hasher.Key("k"), b.tier, 0, b.now).Remaining }

	if g := ask("a", 2); !g.Granted || g.InUse != 1 || g.Decision.Remaining != 1 || !g.Decision.Allowed {
		t.Fatalf("first: %+v", g)
	}
	if g := ask("b", 2); g.Granted || g.Reason != ReasonRateLimited || g.InUse != 1 || g.Decision.RetryAfter != time.Minute || left() != 1 {
		t.Fatalf("without units: %+v, %d left", g, left())
	}
	if g := ask("b", 4); g.Granted || g.Reason != ReasonCostExceedsLimit || g.Decision.RetryAfter != 0 {
		t.Fatalf("beyond the limit: %+v", g)
	}
	if g := ask("b", 0); !g.Granted || g.InUse != 2 || left() != 1 {
		t.Fatalf("with a peek: %+v, %d left", g, left())
	}
	if g := ask("c", 1); g.Granted || g.Reason != ReasonConcurrencyLimited || g.FreesIn != MinTTL || g.Decision.Allowed || left() != 1 {
		t.Fatalf("without a slot: %+v, %d left", g, left())
	}
	if g := ask("a", 2); !g.Granted || g.InUse != 2 || left() != 1 {
		t.Fatalf("the same run again: %+v, %d left", g, left())
	}
}

func TestAcquireAgainReturnsTheSameLease(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	first := b.granted("k", "run", 30*time.Second)
	b.now += Instant(10 * time.Second)
	g, again := b.acquire(b.acquisition("k", "run", 30*time.Second))
	if again != first || g.ExpiresIn != 20*time.Second || g.InUse != 1 {
		t.Fatalf("got %+v with %v left, want %+v with 20s", again, g.ExpiresIn, first)
	}
	other := b.acquisition("k", "run", MinTTL)
	other.TaskID = "task"
	if _, err := b.table.Acquire(other, b.now); !errors.Is(err, ErrConflict) {
		t.Fatalf("with another task: %v", err)
	}
	pro, _ := NewTier(TierSpec{Name: "pro", Windows: b.tier.Windows(), Concurrent: 9})
	other = b.acquisition("k", "run", MinTTL)
	other.Tier = pro
	if _, err := b.table.Acquire(other, b.now); !errors.Is(err, ErrConflict) {
		t.Fatalf("with another tier: %v", err)
	}
	b.granted("another key", "run", MinTTL) // a run_id is unique within its key only
}

// Trap 22: releasing twice frees one slot.
func TestReleaseTwiceFreesOneSlot(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 2})
	first := b.granted("k", "a", MaxTTL)
	b.granted("k", "b", MaxTTL)
	if !b.release(first, b.now) {
		t.Fatal("not released")
	}
	if b.release(first, b.now) {
		t.Fatal("released twice")
	}
	if n := b.inUse("k"); n != 1 {
		t.Fatalf("%d in use, want 1", n)
	}
}

// Trap 22: a release after the lease expired does not free the slot of who has it now,
// be it another run or the same run anew.
func TestReleaseAfterExpiryFreesNoOtherHolder(t *testing.T) {
	for _, next := range []string{"another", "run"} {
		b := newBed(t, TierSpec{Concurrent: 1})
		old := b.granted("k", "run", MinTTL)
		b.now += Instant(MinTTL)
		b.granted("k", next, MaxTTL)
		if b.release(old, b.now) {
			t.Errorf("then %s: the old lease was released", next)
		}
		if _, err := b.table.Renew(old, MaxTTL, nil, b.now); !errors.Is(err, ErrGone) {
			t.Errorf("then %s: the old lease was renewed: %v", next, err)
		}
		if n := b.inUse("k"); n != 1 {
			t.Errorf("then %s: %d in use, want 1", next, n)
		}
	}
}

// Trap 23: a lease lives until its expiry and not an instant longer, and a renewal just
// before counts.
func TestExpiryAndRenewalAtTheLastInstant(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	ref := b.granted("k", "run", MinTTL)
	b.now += Instant(MinTTL) - 1
	if left, err := b.table.Renew(ref, MinTTL, nil, b.now); err != nil || left != MinTTL {
		t.Fatalf("renewed just before expiry: %v, %v", left, err)
	}
	b.table.Sweep(b.now+Instant(MinTTL)-1, 1000)
	b.now += Instant(MinTTL) - 1
	if n := b.inUse("k"); n != 1 {
		t.Fatalf("%d in use before expiry, want 1", n)
	}
	b.now++
	if _, err := b.table.Renew(ref, MinTTL, nil, b.now); !errors.Is(err, ErrGone) {
		t.Fatalf("renewed at expiry: %v", err)
	}
	if n := b.inUse("k"); n != 0 {
		t.Fatalf("%d in use at expiry, want 0", n)
	}
}

// Trap 25: every lease has its own end; acquiring another extends none.
func TestAcquireExtendsNoOtherLease(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 2})
	b.granted("k", "leaked", 10*time.Second)
	for i := range 20 {
		b.now += Instant(time.Second)
		ref := b.granted("k", fmt.Sprint("run", i), MaxTTL)
		if i < 9 && b.inUse("k") != 2 {
			t.Fatalf("after %d s: %d in use, want 2", i+1, b.inUse("k"))
		}
		if i >= 9 && b.inUse("k") != 1 {
			t.Fatalf("after %d s: %d in use: the leaked lease outlived its ttl", i+1, b.inUse("k"))
		}
		b.release(ref, b.now)
	}
}

// A released lease stays released: a late renewal does not bring it back.
func TestTombstoneBeatsLateRenewal(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	ref := b.granted("k", "run", 30*time.Second)
	b.release(ref, b.now)
	if _, err := b.table.Renew(ref, MaxTTL, nil, b.now); !errors.Is(err, ErrGone) {
		t.Fatalf("a released lease was renewed: %v", err)
	}
	set := b.table.partitions[ref.Key.Partition].sets
	if len(set.sets) != 1 || len(set.sets[0].tombstones.ends) != 1 {
		t.Fatal("no tombstone")
	}
	b.table.Sweep(b.now+Instant(30*time.Second)-1, 1000)
	if b.table.Keys() != 1 {
		t.Fatal("the tombstone was swept early")
	}
	b.table.Sweep(b.now+Instant(30*time.Second), 1000)
	if b.table.Keys() != 0 {
		t.Fatal("the tombstone outlived its ttl")
	}
}

// A key whose runs are short and whose leases are long once held a tombstone, with its
// names, for every run of the last ten minutes.
func TestTombstonesAreBounded(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	var ref LeaseRef
	for i := range 3 * maxTombstones {
		ref = b.granted("k", fmt.Sprint("run", i), MaxTTL)
		b.release(ref, b.now)
		b.now++
	}
	set := b.table.partitions[ref.Key.Partition].sets.sets[0]
	if n := len(set.tombstones.ends); n != maxTombstones || len(set.tombstones.byRun) != n {
		t.Errorf("%d tombstones, want %d", n, maxTombstones)
	}
	if _, ok := set.tombstones.byRun[ref.Run]; !ok {
		t.Error("the latest tombstone is gone")
	}
}

// A tier without runs names no wait, as none helps; an acquisition that is repeated
// reports when its windows grow.
func TestAcquireReportsHonestly(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 0, Windows: []Window{{1, time.Minute}}})
	b.table.Check(b.hasher.Key("k"), b.tier, 1, b.now)
	one := Cost(1)
	a := b.acquisition("k", "run", MinTTL)
	a.Cost = &one
	if g, _ := b.acquire(a); g.Reason != ReasonConcurrencyLimited || g.Decision.RetryAfter != 0 || g.FreesIn != 0 {
		t.Errorf("a tier without runs: %+v", g)
	}

	b = newBed(t, TierSpec{Concurrent: 1, Windows: []Window{{2, time.Minute}}})
	a = b.acquisition("k", "run", MaxTTL)
	a.Cost = &one
	b.acquire(a)
	b.now += Instant(10 * time.Second)
	b.table.Check(b.hasher.Key("k"), b.tier, 1, b.now)
	two := Cost(2)
	a.Cost = &two
	peek := b.table.Check(b.hasher.Key("k"), b.tier, 0, b.now)
	if g, _ := b.acquire(a); !g.Granted || g.Decision.Reset != peek.Reset || g.Decision.RetryAfter != 0 {
		t.Errorf("repeated: %+v, want the reset of %+v", g.Decision, peek)
	}
}

// Renewing never shortens a lease.
func TestRenewNeverShortens(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 1})
	ref := b.granted("k", "run", MaxTTL)
	if left, err := b.table.Renew(ref, MinTTL, nil, b.now); err != nil || left != MaxTTL {
		t.Fatalf("%v, %v", left, err)
	}
}

// A key that is denied, peeked at or asked too much of leaves nothing behind.
func TestDenialsTakeNoMemory(t *testing.T) {
	b := newBed(t, TierSpec{Concurrent: 0, Windows: []Window{{5, time.Minute}}})
	b.table.Check(b.hasher.Key("peek"), b.tier, 0, b.now)
	b.table.Check(b.hasher.Key("much"), b.tier, 6, b.now)
	b.acquire(b.acquisition("run", "r", MinTTL))
	if n := b.table.Keys(); n != 0 {
		t.Fatalf("%d keys", n)
	}
}

func TestRunRetryAfter(t *testing.T) {
	tier := newBed(t, TierSpec{Concurrent: 1, RetryHint: 5 * time.Second}).tier
	for _, c := range []struct {
		freesIn time.Duration
		u       float64
		want    time.Duration
	}{
		{0, 0.5, 5 * time.Second},                // unknown: the hint
		{time.Minute, 0, 4 * time.Second},        // at most the hint, less a fifth
		{time.Minute, 0.999999, 6 * time.Second}, // and a fifth more, rounded up
		{2 * time.Second, 0.5, 2 * time.Second},
		{100 * time.Millisecond, 0.5, time.Second}, // at least a second
	} {
		if got := tier.RunRetryAfter(c.freesIn, c.u); got != c.want {
			t.Errorf("RunRetryAfter(%v, %v) = %v, want %v", c.freesIn, c.u, got, c.want)
		}
	}
}
