package client_test

import (
	"fmt"
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
		d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
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

// A crowd is many that ask for a key at the same time.
type crowd struct {
	t       *testing.T
	client  *client.Client
	limiter *fakelimiter.Limiter
	answers chan client.Result
}

// ask lets n ask at once, and returns how many calls are under way once each has its answer, or waits.
func (c *crowd) ask(n int) (calls int) {
	c.t.Helper()
	before := len(c.limiter.Calls("Check"))
	answers := make(chan client.Result, n)
	c.answers = answers
	for range n {
		go func() {
			d, err := c.client.Check(c.t.Context(), client.CheckRequest{Key: "k"})
			answers <- client.Result{Decision: d, Err: err}
		}()
	}
	synctest.Wait()
	return len(c.limiter.Calls("Check")) - before
}

// When a denial is to be renewed one of a crowd asks, and it stands for the others.
func TestCrowdRenewsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := crowd{t: t, limiter: limiter, client: newClient(t, limiter, client.WithTimeout(time.Second))}
		exhaust(t, c.client, "k")
		limiter.After("Check", during(func() { time.Sleep(10 * time.Millisecond) }))
		time.Sleep(time.Second)
		if got := c.ask(50); got != 1 {
			t.Errorf("50 at once cost %d calls, want 1", got)
		}
		if n := len(c.answers); n != 49 {
			t.Errorf("%d were answered at once, want 49", n)
		}
		time.Sleep(10 * time.Millisecond)
		if got := c.ask(50); got != 0 {
			t.Errorf("50 at once cost %d calls after the renewal, want 0", got)
		}
	})
}

// When a denial has ended one of a crowd asks, and the others do what they can with its answer.
func TestCrowdAsksInTurn(t *testing.T) {
	const took = 10 * time.Millisecond
	denied := &sluicev1.Decision{Limit: 10, Reason: sluicev1.Reason_REASON_RATE_LIMITED, RetryAfterMs: proto.Uint32(5000), Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
	allowed := func(remaining, resetMs uint32) *sluicev1.Decision {
		return &sluicev1.Decision{Allowed: true, Limit: 10, Remaining: remaining, ResetAfterMs: resetMs, Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
	}
	for name, tt := range map[string]struct {
		told                  []*sluicev1.Decision // in this order, the last again and again
		calls, passed, failed int
	}{
		"it is denied again":       {[]*sluicev1.Decision{denied}, 1, 0, 0},
		"it had the only unit":     {[]*sluicev1.Decision{allowed(0, 5000)}, 1, 1, 0},
		"the next unit is due":     {[]*sluicev1.Decision{allowed(0, 5), denied}, 2, 1, 0},
		"it had the first of two":  {[]*sluicev1.Decision{allowed(0, 5), allowed(0, 10), denied}, 3, 2, 0},
		"there is enough for all":  {[]*sluicev1.Decision{allowed(16, 5000)}, 5, 5, 0},
		"a few are left":           {[]*sluicev1.Decision{allowed(1, 5000), allowed(0, 5000)}, 2, 2, 0},
		"its call failed: all ask": {[]*sluicev1.Decision{{}, allowed(9, 5000)}, 5, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				limiter.Wait = 40 * time.Millisecond
				c := crowd{t: t, limiter: limiter, client: newClient(t, limiter, client.WithTimeout(time.Second))}
				exhaust(t, c.client, "k")
				time.Sleep(limiter.Wait)
				before, told := len(limiter.Calls("Check")), 0
				limiter.Decide = func(*sluicev1.CheckRequest) *sluicev1.Decision {
					told++
					return tt.told[min(told, len(tt.told))-1]
				}
				limiter.After("Check", during(func() { time.Sleep(took) }))
				if got := c.ask(5); got != 1 {
					t.Errorf("5 at once cost %d calls before one was answered, want 1", got)
				}
				passed, failed := 0, 0
				for range 5 {
					switch a := <-c.answers; {
					case a.Err != nil:
						failed++
					case a.Decision.Allowed:
						passed++
					}
				}
				if calls := len(limiter.Calls("Check")) - before; calls != tt.calls || passed != tt.passed || failed != tt.failed {
					t.Errorf("%d calls, %d passed, %d failed; want %d, %d, %d", calls, passed, failed, tt.calls, tt.passed, tt.failed)
				}
			})
		})
	}
}

// Nobody waits long for another's answer.
func TestCrowdWaitsForAMoment(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Wait = 40 * time.Millisecond
		c := crowd{t: t, limiter: limiter, client: newClient(t, limiter, client.WithTimeout(time.Second))}
		exhaust(t, c.client, "k")
		time.Sleep(limiter.Wait)
		unblock := make(chan struct{})
		limiter.After("Check", during(func() { <-unblock }))
		before := len(limiter.Calls("Check"))
		if got := c.ask(5); got != 1 {
			t.Errorf("%d calls at first, want 1", got)
		}
		time.Sleep(49 * time.Millisecond)
		synctest.Wait()
		if got := len(limiter.Calls("Check")) - before; got != 1 {
			t.Errorf("%d calls after 49 ms, want 1", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		close(unblock)
		for range 5 {
			<-c.answers
		}
		if got := len(limiter.Calls("Check")) - before; got < 5 {
			t.Errorf("%d calls after 50 ms, want all 5", got)
		}
	})
}

// Keys that hammer at the same time do not displace each other's denials.
func TestManyDenialsAreRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		exhaust(t, c, "k")
		const keys = 2000
		for range 3 {
			for i := range keys {
				if _, err := c.Check(t.Context(), client.CheckRequest{Key: fmt.Sprint("k", i)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		// Of five in a set two at least ask again: 0.002 sets of that many are to be expected.
		if calls := len(limiter.Calls("Check")); calls > keys+20 {
			t.Errorf("%d keys, each asked for three times, cost %d calls", keys, calls)
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
		"a larger cost":   {client.CheckRequest{Key: "k", Tier: "pro", Cost: client.Cost(9)}, false}, // it passes later
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
