package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

func TestLeaseIsRenewedUntilReleased(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		pass(5 * time.Minute)
		if isLost(l) || !slices.Equal(limiter.Held(), []string{"r"}) {
			t.Fatalf("after 5 minutes: lost %v, held %v", isLost(l), limiter.Held())
		}
		// A third of 30 s, each time.
		if n := len(limiter.Renewals(l.ID())); n != 30 {
			t.Errorf("%d renewals in 5 minutes, want 30", n)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held after release: %v", held)
		}
		pass(time.Minute)
		if n := len(limiter.Renewals(l.ID())); n != 30 {
			t.Errorf("%d renewals after the release", n-30)
		}
		if isLost(l) {
			t.Error("a released lease counts as lost")
		}
	})
}

func TestRenewalsGoTogether(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Slots = 20
		c := newClient(t, limiter)
		for i := range 20 {
			acquire(t, c, client.AcquireRequest{Key: "k", RunID: string(rune('a' + i))})
			pass(100 * time.Millisecond)
		}
		pass(12 * time.Second)
		calls := limiter.Calls("Renew")
		if len(calls) != 1 {
			t.Fatalf("20 leases within 2 s were renewed by %d calls, want 1", len(calls))
		}
		if n := len(calls[0].Request.(*sluicev1.RenewRequest).GetLeases()); n != 20 {
			t.Errorf("the call renewed %d leases, want 20", n)
		}
	})
}

// A lease with a short ttl is looked after while there are others that can wait.
func TestShortLeaseAmongLong(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		acquire(t, c, client.AcquireRequest{Key: "k", RunID: "long", TTL: 10 * time.Minute})
		pass(time.Second) // the client now waits for minutes
		short := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "short", TTL: time.Second})
		pass(time.Minute)
		if isLost(short) || len(limiter.Held()) != 2 {
			t.Errorf("lost %v (%v), held %v", isLost(short), short.Err(), limiter.Held())
		}
	})
}

func TestLeaseThatEndsElsewhereIsLostAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		if l.Err() != nil {
			t.Errorf("Err of a held lease: %v", l.Err())
		}
		limiter.End(l.ID())
		pass(10 * time.Second)
		if !isLost(l) {
			t.Fatal("not lost at the first renewal")
		}
		var e *client.Error
		if !errors.As(l.Err(), &e) || e.GRPC != codes.FailedPrecondition {
			t.Errorf("Err = %v, want FAILED_PRECONDITION", l.Err())
		}
		if n := len(limiter.Renewals(l.ID())); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
	})
}

func TestDetachLeavesTheFullTTL(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		pass(9 * time.Second)
		if err := l.Detach(canceled(t)); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(limiter.Expires(l.ID())); left != 30*time.Second {
			t.Errorf("a detached lease lives for %v, want 30 s", left)
		}
		if err := l.Release(t.Context()); err != nil || len(limiter.Calls("Release")) != 0 {
			t.Errorf("Release after Detach: %v, %d calls", err, len(limiter.Calls("Release")))
		}
		pass(30 * time.Second)
		if n := len(limiter.Renewals(l.ID())); n != 1 {
			t.Errorf("%d renewals, want only the last", n)
		}
		if len(limiter.Held()) != 0 {
			t.Error("nobody took over, and the slot is still held")
		}
	})
}

func TestDetachOfALeaseThatIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		released := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "released"})
		released.Release(t.Context())
		gone := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "gone"})
		limiter.End(gone.ID())
		for name, l := range map[string]*client.Lease{"released": released, "gone": gone} {
			if err := l.Detach(t.Context()); err == nil || errors.Is(err, client.ErrUndecided) {
				t.Errorf("Detach of a lease that is %s: %v", name, err)
			}
		}
	})
}

func TestAttachTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		gateway, worker := newClient(t, limiter), newClient(t, limiter)
		l := acquire(t, gateway, client.AcquireRequest{Key: "k", RunID: "r"})
		if err := l.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(25 * time.Second)
		w := worker.Attach(l.ID(), 0)
		if worker.Attach(l.ID(), 0) != w {
			t.Error("attaching again made a second lease")
		}
		pass(2 * time.Minute)
		if isLost(w) || len(limiter.Held()) != 1 {
			t.Fatalf("lost %v, held %v", isLost(w), limiter.Held())
		}
		if err := w.Release(t.Context()); err != nil || len(limiter.Held()) != 0 {
			t.Errorf("Release = %v, held %v", err, limiter.Held())
		}
	})
}

func TestAttachToNothingIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		l := newClient(t, limiter).Attach("no-such-lease", 0)
		pass(time.Millisecond)
		if !isLost(l) || l.Err() == nil {
			t.Errorf("lost %v, Err %v", isLost(l), l.Err())
		}
	})
}

func TestReleaseIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		limiter.Before("Release", fakelimiter.Fail(codes.Unavailable))
		start := time.Now()
		err := l.Release(t.Context())
		if !errors.Is(err, client.ErrUndecided) {
			t.Errorf("Release = %v, want ErrUndecided", err)
		}
		if took := time.Since(start); took > client.DefaultTimeout {
			t.Errorf("Release kept the caller for %v", took)
		}
		pass(time.Second)
		limiter.Before("Release", nil)
		pass(2 * time.Second)
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held %v", held)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Errorf("Release after it was done: %v", err)
		}
	})
}

func TestReleaseGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		limiter.Before("Release", fakelimiter.Fail(codes.Unavailable))
		l.Release(t.Context())
		pass(5 * time.Second)
		n := len(limiter.Calls("Release"))
		pass(time.Minute)
		if after := len(limiter.Calls("Release")); n < 4 || after != n {
			t.Errorf("%d tries in 5 s, %d in all", n, after)
		}
	})
}

func TestCloseLosesLeasesWithoutReleasing(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !isLost(l) || !errors.Is(l.Err(), client.ErrClosed) {
			t.Errorf("lost %v, Err %v", isLost(l), l.Err())
		}
		if err := l.Release(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Release = %v, want ErrClosed", err)
		}
		if len(limiter.Calls("Release")) != 0 || len(limiter.Held()) != 1 {
			t.Error("Close released the lease")
		}
		if late := c.Attach("x", 0); !isLost(late) {
			t.Error("a closed client holds a lease")
		}
	})
}

// Whoever holds a lease is told at once that nobody renews it any more, whatever Close waits for.
func TestCloseLosesLeasesBeforeItWaits(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		released := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "released"})
		held := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "held"})
		limiter.Before("Release", fakelimiter.Fail(codes.Unavailable))
		go released.Release(t.Context())
		pass(time.Millisecond)
		begun := time.Now()
		closed := make(chan time.Duration, 1)
		go func() {
			c.Close()
			closed <- time.Since(begun)
		}()
		<-held.Lost()
		if after := time.Since(begun); after != 0 {
			t.Errorf("lost %v after Close was called", after)
		}
		if after := <-closed; after < time.Second {
			t.Errorf("Close waited %v for a release that failed", after)
		}
	})
}

func TestCloseFinishesReleases(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		fail := 3
		limiter.Before("Release", func(ctx context.Context, req proto.Message) error {
			if fail--; fail >= 0 {
				return fakelimiter.Fail(codes.Unavailable)(ctx, req)
			}
			return nil
		})
		l.Release(t.Context())
		c.Close()
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held after Close: %v", held)
		}
	})
}

func TestReleaseAll(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Slots = 9
		c := newClient(t, limiter)
		for i := range 8 {
			acquire(t, c, client.AcquireRequest{Key: "k", RunID: string(rune('a' + i))})
		}
		detached := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "worker"})
		detached.Detach(t.Context())
		if err := c.ReleaseAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if held := limiter.Held(); !slices.Equal(held, []string{"worker"}) {
			t.Errorf("held %v, want only the detached run", held)
		}
	})
}
