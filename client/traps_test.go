package client_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
)

// Slots that leaked, in other systems: each of these bugs was theirs.

func TestTrapReleaseSurvivesCancel(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		if err := l.Release(canceled(t)); err != nil {
			t.Error(err)
		}
		if held := limiter.Held(); len(held) != 0 {
			t.Errorf("the caller went away, and the slot is held: %v", held)
		}
	})
}

func TestTrapReleaseTwiceFreesOneSlot(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		acquire(t, c, client.AcquireRequest{Key: "k", RunID: "other"})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(limiter.Calls("Release")); n != 1 {
			t.Errorf("%d calls for three releases of one lease, want 1", n)
		}
		if held := limiter.Held(); !slices.Equal(held, []string{"other"}) {
			t.Errorf("held %v", held)
		}
	})
}

func TestTrapReleaseAfterExpiryFreesNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c, successor := newClient(t, limiter), newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r", TTL: 2 * time.Second})
		limiter.Before("Renew", fakelimiter.Fail(codes.Unavailable))
		pass(2 * time.Second)
		if !isLost(l) {
			t.Fatal("not lost after its ttl without a renewal")
		}
		acquire(t, successor, client.AcquireRequest{Key: "k", RunID: "r"}) // the same run, tried again elsewhere
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if held := limiter.Held(); !slices.Equal(held, []string{"r"}) {
			t.Errorf("the late release freed its successor's slot: held %v", held)
		}
	})
}

// A renewal that meets a release, in either order, must neither bring the lease
// back nor report it as lost.
func TestTrapLateRenewalRevivesNothing(t *testing.T) {
	slow := during(func() { time.Sleep(300 * time.Millisecond) })
	for name, hook := range map[string]func(*fakelimiter.Limiter, string, fakelimiter.Hook){
		"answer comes late": (*fakelimiter.Limiter).After,
		"call comes late":   (*fakelimiter.Limiter).Before,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				c := newClient(t, limiter)
				l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
				hook(limiter, "Renew", slow)
				pass(10*time.Second + 100*time.Millisecond)
				if err := l.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				if n := len(limiter.Renewals(l.ID())); n != 1 || len(limiter.Held()) != 0 {
					t.Errorf("%d renewals, held %v", n, limiter.Held())
				}
				if isLost(l) {
					t.Errorf("the released lease was lost: %v", l.Err())
				}
			})
		})
	}
}

// One failed renewal, or ten seconds of them, kill no run.
func TestTrapRenewalIsTriedSeveralTimes(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "r"})
		limiter.Before("Renew", fakelimiter.Fail(codes.Unavailable))
		pass(25 * time.Second)
		if isLost(l) {
			t.Fatalf("lost before its ttl had passed: %v", l.Err())
		}
		limiter.Before("Renew", nil)
		pass(time.Minute)
		if isLost(l) || len(limiter.Held()) != 1 {
			t.Fatalf("lost %v although the limiter came back in time", isLost(l))
		}

		limiter.Before("Renew", fakelimiter.Fail(codes.Unavailable))
		tries := len(limiter.Renewals(l.ID()))
		pass(30 * time.Second)
		if !isLost(l) || l.Err() == nil {
			t.Error("not lost after a whole ttl without a renewal")
		}
		if tries = len(limiter.Renewals(l.ID())) - tries; tries < 5 || tries > 12 {
			t.Errorf("%d tries before the lease was lost", tries)
		}
	})
}

// A limiter that hangs must not make the tries of a short lease too few.
func TestTrapRenewalDoesNotHang(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		acquire(t, c, client.AcquireRequest{Key: "k", RunID: "long"})
		l := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "short", TTL: time.Second})
		limiter.Before("Renew", fakelimiter.Lose)
		pass(time.Second)
		if n := len(limiter.Renewals(l.ID())); n < 3 {
			t.Errorf("%d tries in the life of a lease of 1 s, want at least 3", n)
		}
	})
}

// Each lease has its own life: renewing one, or acquiring another, keeps no
// leaked one alive.
func TestTrapTTLIsPerLease(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Slots = 10
		c, dead := newClient(t, limiter), newClient(t, limiter)
		leaked := acquire(t, dead, client.AcquireRequest{Key: "k", RunID: "leaked"})
		dead.Close()
		long := acquire(t, c, client.AcquireRequest{Key: "k", RunID: "long", TTL: 90 * time.Second})
		for i := range 5 {
			acquire(t, c, client.AcquireRequest{Key: "k", RunID: string(rune('a' + i))})
			pass(6 * time.Second)
		}
		if !limiter.Expires(leaked.ID()).IsZero() {
			t.Error("the leaked lease outlived its ttl")
		}
		pass(time.Minute)
		if left := time.Until(limiter.Expires(long.ID())); left < 60*time.Second {
			t.Errorf("a lease of 90 s was renewed to %v", left)
		}
	})
}
