package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// ask forwards one call and waits for its answer.
func (m *member) ask(to string, c *Call) Answer {
	got := make(chan Answer, 2)
	if c.Deadline == 0 {
		c.Deadline = now().Add(10 * time.Second)
	}
	m.Forward(context.Background(), to, []*Call{c}, func(_ int, a Answer) { got <- a })
	return <-got
}

func TestConcurrentCallsShareMessages(t *testing.T) {
	a, b := pair(t)
	const callers, each = 1000, 10
	before := b.inMsgs.Load()
	var wg sync.WaitGroup
	var wrong atomic.Int64
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				cost := uint32(i*each + j)
				if got := a.ask("b", &Call{Kind: Check, Tier: "free", Cost: cost}); got.Decision.Remaining != cost || !got.Decision.Allowed {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d calls had the answer of another", n)
	}
	messages := b.inMsgs.Load() - before
	t.Logf("%d calls in %d messages", callers*each, messages)
	if messages > callers*each/4 {
		t.Errorf("%d calls took %d messages", callers*each, messages)
	}
}

func TestAnswersKeepTheirMeaning(t *testing.T) {
	a, b := pair(t)
	for _, want := range []Answer{
		{Undecided: true, Holder: "c"},
		{Unknown: true},
		{Err: limiter.ErrConflict},
		{Err: limiter.ErrGone},
	} {
		b.mu.Lock()
		b.decide = func(_ context.Context, calls []*Call, done func(int, Answer)) {
			for i := range calls {
				go done(i, want) // from any goroutine
			}
		}
		b.mu.Unlock()
		if got := a.ask("b", &Call{Kind: Acquire}); got.Undecided != want.Undecided || got.Holder != want.Holder ||
			got.Unknown != want.Unknown || !errors.Is(got.Err, want.Err) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	b.mu.Lock()
	b.decide = func(_ context.Context, calls []*Call, done func(int, Answer)) {
		for i := range calls {
			done(i, Answer{Err: fmt.Errorf("out of luck: %w", limiter.ErrUndecided)})
		}
	}
	b.mu.Unlock()
	if got := a.ask("b", &Call{Kind: Renew}); !got.Undecided || got.Err != nil {
		t.Errorf("got %+v, want undecided", got)
	}
	if got := a.ask("nobody", &Call{Kind: Check}); !got.Undecided {
		t.Errorf("got %+v, want undecided", got)
	}
}

func TestACallIsToldAtItsDeadline(t *testing.T) {
	a, b := pair(t)
	b.mu.Lock()
	b.decide = func(context.Context, []*Call, func(int, Answer)) {}
	b.mu.Unlock()
	began := time.Now()
	got := a.ask("b", &Call{Kind: Check, Deadline: now().Add(50 * time.Millisecond)})
	if took := time.Since(began); !got.Unknown || took < 50*time.Millisecond || took > 2*time.Second {
		t.Errorf("%+v after %v, want unknown after 50 ms", got, took)
	}
	if got := a.ask("b", &Call{Kind: Check, Deadline: now().Add(-1)}); !got.Undecided {
		t.Errorf("%+v, want undecided: it was too late", got)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	told := make(chan Answer, 1)
	a.Forward(ended, "b", []*Call{{Kind: Check, Deadline: now().Add(time.Minute)}}, func(_ int, a Answer) { told <- a })
	if got := <-told; !got.Undecided {
		t.Errorf("%+v, want undecided: nobody waits for it", got)
	}
}

func TestCallsOfABrokenStreamAreUnknown(t *testing.T) {
	a, b := pair(t)
	arrived := make(chan struct{})
	b.mu.Lock()
	b.decide = func(context.Context, []*Call, func(int, Answer)) { close(arrived) }
	b.mu.Unlock()
	got := make(chan Answer, 1)
	a.Forward(context.Background(), "b", []*Call{{Kind: Check, Deadline: now().Add(time.Minute)}}, func(_ int, a Answer) { got <- a })
	<-arrived
	b.stop()
	if answer := <-got; !answer.Unknown {
		t.Errorf("got %+v, want unknown", answer)
	}
	if answer := a.ask("b", &Call{Kind: Check}); !answer.Undecided {
		t.Errorf("got %+v, want undecided: nobody is there", answer)
	}
}

func TestWhatIsDecidedIsAnsweredOnClosing(t *testing.T) {
	a, b := pair(t)
	b.mu.Lock()
	b.decide = func(_ context.Context, calls []*Call, done func(int, Answer)) {
		done(0, Answer{Released: true})
		go b.stop()
	}
	b.mu.Unlock()
	if got := a.ask("b", &Call{Kind: Release}); !got.Released {
		t.Errorf("got %+v, want the answer", got)
	}
}

func TestQueuesAreBounded(t *testing.T) {
	// The clock stands still until calls were sent, however long the machine takes for that.
	var still atomic.Int64
	clock := func(c *Config) {
		c.Clock = func() limiter.Instant {
			if at := still.Load(); at != 0 {
				return limiter.Instant(at)
			}
			return now()
		}
	}
	a, b := start(t, "a", 1, clock), start(t, "b", 1)
	r := newRelay(t, b.addr)
	a.SetPeers([]Address{{"b", r.addr}})
	b.SetPeers([]Address{{"a", a.addr}})
	eventually(t, "they are connected", func() bool { return a.connected("b") })
	b.mu.Lock()
	b.decide = func(context.Context, []*Call, func(int, Answer)) {}
	b.mu.Unlock()
	const n = 200_000
	var told [n]atomic.Int32
	var undecided, unknown, decided atomic.Int64
	began := now()
	still.Store(int64(began))
	deadline := began.Add(500 * time.Millisecond)
	calls := make([]*Call, n)
	for i := range calls {
		calls[i] = &Call{Kind: Acquire, Tier: "enterprise", RunID: "0123456789", Deadline: deadline}
	}
	forward := func(from, to int) {
		a.Forward(context.Background(), "b", calls[from:to], func(i int, answer Answer) {
			told[from+i].Add(1)
			switch {
			case answer.Undecided:
				undecided.Add(1)
			case answer.Unknown:
				unknown.Add(1)
			default:
				decided.Add(1)
			}
		})
	}
	forward(0, 100)
	eventually(t, "calls are sent", func() bool { return a.awaits("b") || unknown.Load() > 0 })
	r.setHeld(true)
	for from := 100; from < n; from += 100 {
		forward(from, from+100)
	}
	if undecided.Load() < n-maxQueued-maxAwaited {
		t.Errorf("%d of %d refused at once", undecided.Load(), n)
	}
	still.Store(0)
	eventually(t, "every call was told", func() bool { return undecided.Load()+unknown.Load()+decided.Load() >= n })
	r.setHeld(false)
	var late atomic.Bool
	b.mu.Lock()
	b.decide = func(_ context.Context, calls []*Call, done func(int, Answer)) {
		for i, c := range calls {
			if c.RunID != "last" {
				late.Store(true)
			}
			done(i, Answer{})
		}
	}
	b.mu.Unlock()
	eventually(t, "calls go through again", func() bool {
		answer := a.ask("b", &Call{Kind: Acquire, RunID: "last"})
		return !answer.Undecided && !answer.Unknown
	})
	if late.Load() {
		t.Error("calls were handed over after their deadline")
	}
	for i := range told {
		if k := told[i].Load(); k != 1 {
			t.Fatalf("call %d was told %d times", i, k)
		}
	}
	if decided.Load() > 0 || unknown.Load() == 0 {
		t.Errorf("%d decided, %d unknown of a node that hangs", decided.Load(), unknown.Load())
	}
}

func TestDeadlinesTravelWithoutClocks(t *testing.T) {
	var shift ownership.Shift
	at := func(ms int) limiter.Instant { return limiter.Instant(ms) * limiter.Instant(time.Millisecond) }
	for i, step := range []struct{ stamp, now, want int }{
		{1000, 5000, 5000}, // the first took no time, for all that is known
		{1010, 5013, 5010}, // this one 3 ms more
		{1020, 5018, 5018}, // this one less than all before
		{1030, 5030, 5028},
		{3_040, 7_060, 7_038},       // the next window: the one before still counts
		{5_050, 9_080, 9_070},       // and no more
		{60_000, 64_050, 64_050},    // after a silence little is known
		{60_010, 64_360, 64_060},    // the sender's clock stood still for 300 ms,
		{62_010, 66_360, 66_060},    //
		{64_020, 68_370, 68_370},    // which is known before long
		{120_000, 124_050, 124_050}, //
		{120_010, 124_070, 124_060}, // 10 ms late
		{120_020, 124_068, 124_068}, // the least of now and before
		{181_000, 185_048, 185_048}, //
		{181_001, 185_149, 185_049}, //
		{181_002, 200_048, 185_061}, // very late: 11 ms more, as clocks may drift in 15 s
		{181_003, 200_049, 185_062}, //
		{250_000, 254_000, 254_000}, //
		{250_001, 254_100, 254_001}, //
		{250_002, 254_002, 254_002}, //
		{250_003, 254_003, 254_003}, //
	} {
		shift.Note(at(step.stamp), at(step.now))
		if got := at(step.stamp).Add(shift.Least()); got != at(step.want) {
			t.Errorf("step %d: sent at %v, want %v", i, got/1e6, step.want)
		}
	}
}

// Whoever asks and does not read is not answered without bound.
func TestUnreadAnswersAreBounded(t *testing.T) {
	a := &answerer{wake: make(chan struct{}, 1)}
	n := 0
	for ; !a.unread(); n++ {
		a.answer(pending{id: uint64(n), kind: Check}, &Answer{Err: limiter.ErrConflict})
	}
	bytes := 0
	for _, b := range a.ready {
		bytes += len(b)
	}
	if bytes < maxAwaited*16 || bytes > (maxReady+2)*pieceBytes {
		t.Errorf("%d answers of %d bytes wait at most", n, bytes)
	}
}

func TestOperatorsAreAnswered(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	key := limiter.Key{Partition: 9, ID: limiter.IdentityOf(1, 2)}
	if got, err := a.Transport.Status(ctx, "b"); err != nil || got != b.Status() {
		t.Errorf("status: %+v, %v", got, err)
	}
	if got, err := a.Transport.Status(ctx, "a"); err != nil || got.Name != "a" {
		t.Errorf("own status: %+v, %v", got, err)
	}
	if _, err := a.Transport.Status(ctx, "c"); err == nil {
		t.Error("a node that is not there has a status")
	}
	then := now()
	b.key = KeyStatus{
		Node: "b", Partition: 9, Generation: "3@b", Copies: []string{"a"}, Permitted: true, Exactness: limiter.Exact, Found: true,
		State: limiter.KeyState{
			History: []limiter.Entry{{At: then.Add(-time.Second), Units: 4}}, Horizon: time.Minute, Tombstones: 2,
			Leases: []limiter.Lease{{Run: limiter.RunHashOf(3, 4), RunID: "r", Tier: "pro", Nonce: 5, Acquired: then.Add(-time.Second), Expiry: then.Add(time.Minute)}},
		},
		Age: func(i limiter.Instant) time.Duration { return then.Sub(i) },
	}
	got, err := a.Transport.Inspect(ctx, "b", key, "pro")
	if err != nil || got.Generation != "3@b" || len(got.Copies) != 1 || !got.Permitted || !got.Found || len(got.State.History) != 1 || len(got.State.Leases) != 1 {
		t.Fatalf("inspect: %+v, %v", got, err)
	}
	if l := got.State.Leases[0]; got.Age(got.State.History[0].At) != time.Second || got.Age(l.Acquired) != time.Second ||
		got.Age(l.Expiry) != -time.Minute || l.RunID != "r" || l.Nonce != 5 || l.Run != limiter.RunHashOf(3, 4) {
		t.Errorf("inspect: ages have changed: %+v", got.State)
	}
	b.leases = []LeaseStatus{{Node: "b", Key: key, RunID: "r", Age: time.Second, Left: time.Minute}, {}}
	if leases, more, err := a.Transport.Leases(ctx, "b", &key, 1); err != nil || !more || len(leases) != 1 || leases[0] != b.leases[0] {
		t.Errorf("leases: %+v, %v, %v", leases, more, err)
	}
	if found, err := a.Transport.Reset(ctx, "b", key); err != nil || !found {
		t.Errorf("reset: %v, %v", found, err)
	}
	b.err = limiter.ErrUndecided
	if _, err := a.Transport.Reset(ctx, "b", key); !errors.Is(err, limiter.ErrUndecided) {
		t.Errorf("reset: %v, want undecided", err)
	}
}

func BenchmarkForward(b *testing.B) {
	a, _ := pair(b)
	key := limiter.Key{Partition: 9, ID: limiter.IdentityOf(1, 2)}
	b.SetParallelism(256)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		got := make(chan Answer, 1)
		c := &Call{Kind: Check, Key: key, Tier: "enterprise", Cost: 1}
		calls := []*Call{c}
		done := func(_ int, a Answer) { got <- a }
		for pb.Next() {
			c.Deadline = now().Add(time.Second)
			a.Forward(context.Background(), "b", calls, done)
			if answer := <-got; !answer.Decision.Allowed {
				b.Error("not allowed")
			}
		}
	})
}
