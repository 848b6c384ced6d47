package cluster

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// other is a node that gave partition 1 up, and where calls for partition 2 wait until released.
type other struct {
	peer.Handler
	gaveUp   func()
	released chan struct{}
}

func (*other) Frame(string, uint64, *ownership.Frame)     {}
func (*other) Copying(string, uint64, *ownership.Copying) {}
func (*other) Relinked(string)                            {}
func (*other) Gone(string, uint64)                        {}
func (*other) Newer(uint64)                               {}

func (o *other) Decide(_ context.Context, calls []*peer.Call, done func(int, peer.Answer)) {
	for i, c := range calls {
		if c.Key.Partition == 2 {
			go func() {
				<-o.released
				done(i, peer.Answer{Undecided: true})
			}()
			continue
		}
		done(i, peer.Answer{Undecided: true, Holder: "me"})
		o.gaveUp()
	}
}

// A call that comes back undecided goes on, whatever becomes of others that were sent with it.
func TestOneSlowCallHoldsUpNoOther(t *testing.T) {
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "t", Windows: []limiter.Window{{Limit: 10, Per: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	origin := time.Now()
	clock := func() limiter.Instant { return limiter.Instant(1000 * time.Hour).Add(time.Since(origin)) }
	n := &Node{Config: Config{Name: "me", Partitions: 3, Clock: clock, MinMembers: 1}, routes: make([]routeCell, 3)}
	n.rules.Store(&Rules{Tier: func(string) *limiter.Tier { return tier }})
	n.waiters.init()
	n.ended.init()
	n.stir()
	n.stalls.ticked.Store(int64(clock().Add(time.Hour)))
	for i := range n.routes {
		n.routes[i].now.Store(&route{Route: ownership.Route{Holder: "other"}})
	}
	if n.table, err = limiter.NewTable(limiter.Config{Partitions: 3, MaxKeys: 10, Shared: true}); err != nil {
		t.Fatal(err)
	}
	theirs := &other{released: make(chan struct{}), gaveUp: func() { // the handoff of partition 1 ends
		n.table.Permit(1, clock().Add(time.Hour))
		n.routes[1].now.Store(&route{Route: ownership.Route{Holder: "me", Held: true, Until: clock().Add(time.Hour)}, permitted: true})
		n.stir()
	}}
	mine, me := transportOf(t, "me", &other{}, clock)
	theirTransport, them := transportOf(t, "other", theirs, clock)
	n.transport = mine
	mine.SetPeers([]peer.Address{me, them})
	theirTransport.SetPeers([]peer.Address{me, them})

	var calls []*peer.Call
	for p := range limiter.PartitionID(3) {
		if p > 0 {
			calls = append(calls, &peer.Call{
				Kind: peer.Check, Key: limiter.Key{Partition: p}, Of: tier, Cost: 1, HasCost: true, Deadline: clock().Add(20 * time.Second),
			})
		}
	}
	first, second := make(chan peer.Answer, 1), make(chan peer.Answer, 1)
	ctx, cancel := context.WithCancel(t.Context())
	n.Decide(ctx, calls, func(i int, a peer.Answer) { [2]chan peer.Answer{first, second}[i] <- a })
	if a := <-first; a.Undecided || !a.Decision.Allowed {
		t.Errorf("it was told only when the other was over: %+v", a)
	}
	cancel()
	close(theirs.released)
	<-second
}

// What changes between a call's look and its waiting is not missed.
func TestACallMissesNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{Config: Config{Clock: func() limiter.Instant { return 1000 }}}
		n.stir()
		q := &question{n: n, ctx: t.Context()}
		seen := n.stirred.Load()
		n.stir()
		began := time.Now()
		if q.pause(seen, time.Hour); time.Since(began) > 0 {
			t.Error("it waited")
		}
	})
}

// The more questions wait the more rarely each looks again, but none later than its first deadline.
func TestACrowdLooksMoreRarely(t *testing.T) {
	n := &Node{Config: Config{Clock: func() limiter.Instant { return 1000 }}}
	q := &question{n: n, calls: []*peer.Call{{Deadline: limiter.Instant(1000).Add(time.Minute)}, {Deadline: limiter.Instant(1000).Add(50 * time.Millisecond)}}}
	for _, c := range []struct {
		pursuing int64
		waiting  []int
		want     time.Duration
	}{
		{1, []int{0, 1}, lookPace},
		{4000, []int{0}, 4000 * crowdPace},
		{4000, []int{0, 1}, 50 * time.Millisecond},
		{1_000_000, []int{0}, crowdMost},
	} {
		n.pursuing.Store(c.pursuing)
		if got := q.patience(c.waiting, lookPace); got != c.want {
			t.Errorf("of %d, calls %v look after %v, want %v", c.pursuing, c.waiting, got, c.want)
		}
	}
}

func transportOf(t *testing.T, name string, h peer.Handler, clock func() limiter.Instant) (*peer.Transport, peer.Address) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := peer.New(peer.Config{Name: name, Listener: lis, Cluster: 7, Handler: h, Log: slog.New(slog.DiscardHandler), Clock: clock})
	tr.SetBoot(1)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return tr, peer.Address{Name: name, Addr: lis.Addr().String()}
}
