package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

func TestAcquireDenied(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Slots = 1
		c := newClient(t, limiter)
		acquire(t, c, client.AcquireRequest{Key: "k", RunID: "a"})
		g, err := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "b", RequestCost: client.Cost(1)})
		if err != nil || g.Granted || g.Lease != nil || g.Reason != client.ConcurrencyLimited ||
			g.RetryAfter != 4200*time.Millisecond || g.InUse != 1 || g.Limit != 1 || g.Decision.Limit != 10 {
			t.Errorf("%+v, %v", g, err)
		}
		if limiter.Used() != 0 {
			t.Errorf("a denied run took %d units", limiter.Used())
		}
	})
}

func TestAcquireOnTheWire(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		acquire(t, c, client.AcquireRequest{Key: "k", Tier: "pro", RunID: "a", TaskID: "t", RequestCost: client.Cost(0)})
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "b", TTL: 2 * time.Minute})
		if l.RunID() != "b" || l.ID() != "lease-b" {
			t.Errorf("run %q, lease %q", l.RunID(), l.ID())
		}
		calls := limiter.Calls("Acquire")
		first, second := calls[0].Request.(*sluicev1.AcquireRequest), calls[1].Request.(*sluicev1.AcquireRequest)
		if first.TtlMs != 30_000 || first.Tier != "pro" || first.TaskId != "t" || first.RequestCost == nil || *first.RequestCost != 0 {
			t.Errorf("first: %v", first)
		}
		if second.TtlMs != 120_000 || second.RequestCost != nil {
			t.Errorf("second: %v", second)
		}
		for _, ttl := range []time.Duration{-time.Second, 60 * 24 * time.Hour} {
			var e *client.Error
			_, err := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "c", TTL: ttl})
			if !errors.As(err, &e) || e.Code != contract.ValidationError {
				t.Errorf("ttl %v: %v", ttl, err)
			}
		}
	})
}

func TestAcquireAgainIsTheSameLease(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		var leases [20]*client.Lease
		var all sync.WaitGroup
		for i := range leases {
			all.Go(func() { leases[i] = acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"}) })
		}
		all.Wait()
		for _, l := range leases {
			if l != leases[0] {
				t.Fatal("one run, two leases")
			}
		}
	})
}

func TestNilLeaseDoesNothing(t *testing.T) {
	var l *client.Lease
	if l.ID() != "" || l.RunID() != "" || l.Lost() != nil || l.Err() != nil ||
		l.Release(t.Context()) != nil || l.Detach(t.Context()) != nil {
		t.Error("a nil lease does something")
	}
}

// An Acquire whose answer is lost may hold a slot that nobody knows of.
func TestLostAcquireIsFreed(t *testing.T) {
	for _, policy := range []client.Policy{client.FailClosed, client.FailOpen} {
		t.Run("fail "+policy.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				c := newClient(t, limiter, client.WithPolicy(policy))
				limiter.After("Acquire", fakelimiter.Lose)
				g, err := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r", RequestCost: client.Cost(1)})
				if open := policy == client.FailOpen; g.Granted != open || errors.Is(err, client.ErrUndecided) == open || g.Lease != nil {
					t.Errorf("%+v, %v", g, err)
				}
				if len(limiter.Held()) != 1 {
					t.Fatal("the call took no slot: nothing to test")
				}
				limiter.After("Acquire", nil)
				pass(3 * time.Second)
				if held := limiter.Held(); len(held) != 0 {
					t.Errorf("held %v", held)
				}
				if limiter.Used() != 1 {
					t.Errorf("%d units taken, want those of the lost call only", limiter.Used())
				}
				n := len(limiter.Calls("Acquire"))
				pass(time.Minute)
				if len(limiter.Calls("Acquire")) != n {
					t.Error("asked again after the slot was free")
				}
			})
		})
	}
}

func TestCanceledAcquireIsFreed(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		ctx, cancel := context.WithCancel(t.Context())
		limiter.After("Acquire", during(cancel))
		// The cancellation and the answer race: either is right, if no slot is left.
		g, err := c.Acquire(ctx, client.AcquireRequest{Key: "k", RunID: "r"})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", g, err)
		}
		g.Lease.Release(ctx)
		limiter.After("Acquire", nil)
		pass(3 * time.Second)
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("held %v", held)
		}
	})
}

// To try again is what most callers do at once. What settles the first call
// must then leave the second one's lease alone.
func TestRetriedAcquireKeepsItsLease(t *testing.T) {
	for _, after := range []time.Duration{0, 90 * time.Millisecond, 110 * time.Millisecond, 2 * time.Second} {
		bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
			c := newClient(t, limiter)
			limiter.After("Acquire", fakelimiter.Lose)
			c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"})
			limiter.After("Acquire", nil)
			// Slow enough for the two to meet in every order.
			limiter.Before("Acquire", during(func() { time.Sleep(15 * time.Millisecond) }))
			time.Sleep(after)
			l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
			pass(time.Minute)
			if isLost(l) || !slices.Equal(limiter.Held(), []string{"r"}) {
				t.Errorf("tried again after %v: lost %v, held %v", after, isLost(l), limiter.Held())
			}
		})
	}
}

// The same when a worker has the lease by then.
func TestRetriedAcquireKeepsItsDetachedLease(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.After("Acquire", fakelimiter.Lose)
		c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"})
		limiter.After("Acquire", nil)
		acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"}).Detach(t.Context())
		pass(20 * time.Second)
		if held := limiter.Held(); !slices.Equal(held, []string{"r"}) {
			t.Errorf("held %v", held)
		}
	})
}

// To ask again for a run that is held, and get no answer, does not end it.
func TestLostRepetitionKeepsTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		limiter.After("Acquire", fakelimiter.Lose)
		if _, err := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"}); err == nil {
			t.Fatal("the answer was not lost")
		}
		limiter.After("Acquire", nil)
		pass(time.Minute)
		if isLost(l) || !slices.Equal(limiter.Held(), []string{"r"}) {
			t.Errorf("lost %v, held %v", isLost(l), limiter.Held())
		}
	})
}

// If the lost call never took effect, settling it must not do what it asked for.
func TestSettlingTakesNoUnits(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.Before("Acquire", fakelimiter.Lose)
		c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r", RequestCost: client.Cost(1)})
		limiter.Before("Acquire", nil)
		pass(3 * time.Second)
		if limiter.Used() != 0 || len(limiter.Held()) != 0 {
			t.Errorf("%d units used, held %v", limiter.Used(), limiter.Held())
		}
		if n := len(limiter.Calls("Acquire")); n != 2 {
			t.Errorf("%d calls, want the lost one and one that settles it", n)
		}
	})
}

func TestSettlingEnds(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.After("Acquire", fakelimiter.Lose)
		c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r", TTL: 10 * time.Second})
		pass(11 * time.Second)
		n := len(limiter.Calls("Acquire"))
		pass(time.Minute)
		if after := len(limiter.Calls("Acquire")); n < 3 || after != n {
			t.Errorf("%d calls within the ttl, %d in all", n, after)
		}
	})
}

// What was refused, or never sent, took no slot.
func TestNothingToSettle(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.Before("Acquire", fakelimiter.Fail(codes.AlreadyExists))
		_, err := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"})
		var e *client.Error
		if !errors.As(err, &e) || e.Code != contract.Conflict {
			t.Errorf("%v, want a conflict", err)
		}
		c.Acquire(canceled(t), client.AcquireRequest{Key: "k", RunID: "s"})
		pass(time.Minute)
		if n := len(limiter.Calls("Acquire")); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestCloseStopsSettling(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.After("Acquire", fakelimiter.Lose)
		c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"})
		start := time.Now()
		c.Close()
		synctest.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// Many runs at once: every slot comes back, whatever becomes of each call.
func TestNoSlotIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Slots = 1000
		c := newClient(t, limiter)
		limiter.After("Acquire", fakelimiter.Lose)
		var all sync.WaitGroup
		for i := range 200 {
			if i == 100 {
				all.Wait()
				limiter.After("Acquire", nil)
			}
			all.Go(func() {
				run := client.AcquireRequest{Key: "k", RunID: string(rune('A' + i))}
				if g, err := c.Acquire(t.Context(), run); err == nil {
					g.Lease.Release(t.Context())
				}
			})
		}
		all.Wait()
		pass(3 * time.Second)
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("%d slots are lost", len(held))
		}
	})
}
