package client_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The limit is raised while a denial is remembered: who did not have the turn is not denied by what is over.
func TestCrowdPassesAfterALimitWasRaised(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := crowd{t: t, limiter: limiter, client: newClient(t, limiter, client.WithTimeout(time.Second))}
		exhaust(t, c.client, "k")
		limiter.Decide = func(*sluicev1.CheckRequest) *sluicev1.Decision {
			return &sluicev1.Decision{Allowed: true, Limit: 20, Remaining: 9, ResetAfterMs: 40000, Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
		}
		limiter.After("Check", during(func() { time.Sleep(10 * time.Millisecond) }))
		time.Sleep(time.Second)
		if d, err := c.client.Check(t.Context(), client.CheckRequest{Key: "k"}); err != nil || !d.Allowed {
			t.Fatalf("%+v, %v", d, err)
		}
		c.ask(5)
		time.Sleep(time.Second)
		for range 5 {
			if a := <-c.answers; !a.Decision.Allowed || a.Decision.RetryAfter < 0 {
				t.Errorf("after the limiter had said that 9 are left: %+v", a.Decision)
			}
		}
	})
}

// Whoever waited for another's turn gives the node the time of a try all the same: a node that was
// asked less than that ago is not silent, and a second one could count the hit again.
func TestWhoWaitedForATurnAsksOnce(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		key := cluster.Key(0)
		decide := func(d *sluicev1.Decision) {
			cluster.Decide = func(*sluicev1.CheckRequest) *sluicev1.Decision { return d }
		}
		decide(&sluicev1.Decision{
			Limit: 10, Reason: sluicev1.Reason_REASON_RATE_LIMITED, RetryAfterMs: proto.Uint32(40), Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
		})
		if d, err := c.Check(t.Context(), client.CheckRequest{Key: key}); err != nil || d.Allowed {
			t.Fatalf("%+v, %v", d, err)
		}
		pass(40 * time.Millisecond)
		decide(&sluicev1.Decision{Allowed: true, Limit: 100, Remaining: 50, ResetAfterMs: 5000, Exactness: sluicev1.Exactness_EXACTNESS_EXACT})
		cluster.After("Check", during(func() { time.Sleep(22 * time.Millisecond) })) // about half of a try's least time
		before := cluster.Asked("Check")
		const n = 5
		done := make(chan error, n)
		for range n {
			go func() {
				_, err := c.Check(both["as a call of its own"](t.Context()), client.CheckRequest{Key: key})
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		pass(time.Second)
		after := cluster.Asked("Check")
		if holder, other := after[0]-before[0], after[1]-before[1]; holder != n || other != 0 {
			t.Errorf("%d checks: the holder was asked %d times, the other node %d times", n, holder, other)
		}
	}, client.WithTimeout(client.DefaultTimeout))
}
