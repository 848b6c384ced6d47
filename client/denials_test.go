package client_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// exhaust uses up the units, and the client's ignorance of it.
func exhaust(t *testing.T, c *client.Client, key string) client.Decision {
	t.Helper()
	if d, err := c.Check(t.Context(), client.CheckRequest{Key: key, Cost: client.Cost(10)}); err != nil || !d.Allowed {
		t.Fatalf("%+v, %v", d, err)
	}
	d, err := c.Check(t.Context(), client.CheckRequest{Key: key})
	if err != nil || d.Allowed || d.Cached || d.Reason != client.RateLimited {
		t.Fatalf("%+v, %v", d, err)
	}
	return d
}

func TestAbusiveKeyCostsOneCallASecond(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []client.Option
		want int
	}{
		"with the cache": {nil, 10},
		"without":        {[]client.Option{client.WithoutDenyCache()}, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				c := newClient(t, limiter, tt.opts...)
				exhaust(t, c, "k")
				calls := len(limiter.Calls("Check"))
				for range 10_000 {
					time.Sleep(time.Millisecond)
					d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
					if err != nil || d.Allowed || d.Reason != client.RateLimited || !d.Decided() {
						t.Fatalf("%+v, %v", d, err)
					}
				}
				if got := len(limiter.Calls("Check")) - calls; got != tt.want {
					t.Errorf("10,000 checks in 10 s cost %d calls, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestCachedDenialCountsDown(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		first := exhaust(t, c, "k")
		time.Sleep(300*time.Millisecond + 700*time.Microsecond)
		d, err := c.Check(t.Context(), client.CheckRequest{Key: "k", Cost: client.Cost(3)})
		want := first
		want.Cached = true
		want.RetryAfter -= 300 * time.Millisecond // rounded up: never too early
		want.Reset = want.RetryAfter
		if err != nil || d.Limit != want.Limit || d.RetryAfter != want.RetryAfter || d.Reset != want.Reset ||
			d.Reason != want.Reason || d.Exactness != want.Exactness || !d.Cached {
			t.Errorf("%+v, %v; want %+v", d, err, want)
		}
		results, err := c.CheckBatch(t.Context(), []client.CheckRequest{{Key: "k"}, {Key: "other"}})
		if err != nil || !results[0].Decision.Cached || results[1].Decision.Cached {
			t.Errorf("a batch: %+v, %v", results, err)
		}
	})
}

// When a denial is to be renewed a crowd costs one call, for a moment: then all ask for themselves.
func TestCrowdRenewsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter, client.WithTimeout(time.Second))
		exhaust(t, c, "k")
		limiter.After("Check", during(func() { time.Sleep(60 * time.Millisecond) }))
		time.Sleep(time.Second)
		calls := len(limiter.Calls("Check"))
		crowd := func() {
			for range 50 {
				go c.Check(t.Context(), client.CheckRequest{Key: "k"})
			}
			synctest.Wait()
		}
		crowd()
		if got := len(limiter.Calls("Check")) - calls; got != 1 {
			t.Errorf("50 at once cost %d calls, want 1", got)
		}
		time.Sleep(50 * time.Millisecond)
		d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
		if err != nil || d.Cached {
			t.Errorf("%+v, %v; want an answer of the limiter, as the renewal was not answered", d, err)
		}
		calls = len(limiter.Calls("Check"))
		crowd()
		if got := len(limiter.Calls("Check")) - calls; got != 0 {
			t.Errorf("50 at once cost %d calls after the renewal, want 0", got)
		}
	})
}

// A denial is forgotten when it ends, not when that was heard of.
func TestDenialEndsOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Wait = 40 * time.Millisecond
		c := newClient(t, limiter)
		limiter.After("Check", during(func() { time.Sleep(10 * time.Millisecond) }))
		exhaust(t, c, "k") // its answer takes 10 ms
		limiter.After("Check", nil)
		calls := len(limiter.Calls("Check"))
		time.Sleep(29 * time.Millisecond)
		c.Check(t.Context(), client.CheckRequest{Key: "k"})
		if got := len(limiter.Calls("Check")) - calls; got != 0 {
			t.Errorf("39 of 40 ms after the decision it was asked again")
		}
		time.Sleep(time.Millisecond)
		c.Check(t.Context(), client.CheckRequest{Key: "k"})
		if got := len(limiter.Calls("Check")) - calls; got != 1 {
			t.Errorf("40 ms after the decision it was not asked again")
		}
	})
}

// Only what must be denied again is answered from memory.
func TestWhatTheDenyCacheAnswers(t *testing.T) {
	denied := client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(3)}
	for name, tt := range map[string]struct {
		req    client.CheckRequest
		cached bool
	}{
		"the same":        {denied, true},
		"a larger cost":   {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(9)}, true},
		"a smaller cost":  {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(2)}, false},
		"above the limit": {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(11)}, false},
		"a peek":          {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(0)}, false},
		"another key":     {client.CheckRequest{Key: "l", Tier: "pro", Cost: client.Cost(3)}, false},
		"another tier":    {client.CheckRequest{Key: "k", Tier: "pr", Cost: client.Cost(3)}, false},
		"moved border":    {client.CheckRequest{Key: "ok", Tier: "pr", Cost: client.Cost(3)}, false},
		"explain":         {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(3), Explain: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				c := newClient(t, limiter)
				c.Check(t.Context(), client.CheckRequest{Key: "k", Cost: client.Cost(8)})
				if d, err := c.Check(t.Context(), denied); err != nil || d.Allowed {
					t.Fatalf("%+v, %v", d, err)
				}
				calls := len(limiter.Calls("Check"))
				d, err := c.Check(t.Context(), tt.req)
				asked := len(limiter.Calls("Check")) > calls
				if err != nil || d.Cached != tt.cached || asked == tt.cached {
					t.Errorf("%+v, %v; the limiter was asked: %v", d, err, asked)
				}
			})
		})
	}
}

// A peek is denied as a cost of 1 is, and the other way round.
func TestPeekIsDeniedAsOneUnit(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		exhaust(t, c, "k")
		if d, err := c.Check(t.Context(), client.CheckRequest{Key: "k", Cost: client.Cost(0)}); err != nil || !d.Cached {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// Other reasons may end at any time, and a degraded denial is a guess.
func TestWhatIsNeverRemembered(t *testing.T) {
	change := func(c *fakelimiter.Limiter, reason sluicev1.Reason, exactness sluicev1.Exactness) {
		c.Decide = func(*sluicev1.CheckRequest) *sluicev1.Decision {
			return &sluicev1.Decision{Reason: reason, Exactness: exactness, Limit: 10, RetryAfterMs: proto.Uint32(5000)}
		}
	}
	remembered := []string{}
	for number, name := range sluicev1.Reason_name {
		for exactness := sluicev1.Exactness_EXACTNESS_EXACT; exactness <= sluicev1.Exactness_EXACTNESS_DEGRADED; exactness++ {
			if number == 0 {
				continue
			}
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				change(limiter, sluicev1.Reason(number), exactness)
				c := newClient(t, limiter)
				for range 2 {
					if d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"}); err != nil || d.Allowed {
						t.Fatalf("%+v, %v", d, err)
					}
				}
				if len(limiter.Calls("Check")) == 1 {
					remembered = append(remembered, name+" "+exactness.String())
				}
			})
		}
	}
	slices.Sort(remembered)
	want := []string{"REASON_RATE_LIMITED EXACTNESS_EXACT", "REASON_RATE_LIMITED EXACTNESS_RECOVERING"}
	if !slices.Equal(remembered, want) {
		t.Errorf("remembered: %q, want %q", remembered, want)
	}
}
