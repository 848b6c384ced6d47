package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

func TestCheckCosts(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		for _, tt := range []struct {
			name      string
			cost      *uint32
			remaining uint32
		}{
			{"absent is 1", nil, 9},
			{"0 is a peek", client.Cost(0), 9},
			{"4", client.Cost(4), 5},
		} {
			d, err := c.Check(t.Context(), client.CheckRequest{Key: "k", Cost: tt.cost})
			if err != nil || !d.Allowed || d.Remaining != tt.remaining {
				t.Errorf("%s: %+v, %v; want %d remaining", tt.name, d, err, tt.remaining)
			}
		}
	})
}

func TestDenialIsADecision(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Units = 1
		c := newClient(t, limiter)
		c.Check(t.Context(), client.CheckRequest{Key: "k"})
		d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed || !d.Decided() || d.Reason != client.RateLimited || d.Limit != 1 || d.Remaining != 0 ||
			d.RetryAfter != 42500*time.Millisecond || d.Reset != d.RetryAfter || d.Exactness != client.Exact {
			t.Errorf("%+v", d)
		}
	})
}

// The enums are the API's, by number: a reason must never be taken for another.
func TestEnumsAreTheAPIs(t *testing.T) {
	for number, name := range sluicev1.Reason_name {
		want := strings.ToLower(strings.TrimPrefix(name, "REASON_"))
		if number == 0 {
			want = "not_denied"
		}
		if got := client.Reason(number).String(); got != want {
			t.Errorf("reason %d is %s, want %s", number, got, want)
		}
	}
	for number, name := range sluicev1.Exactness_name {
		want := strings.ToLower(strings.TrimPrefix(name, "EXACTNESS_"))
		if number == 0 {
			want = "undecided"
		}
		if got := client.Exactness(number).String(); got != want {
			t.Errorf("exactness %d is %s, want %s", number, got, want)
		}
	}
}

func TestRequestOnTheWire(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		ctx := client.WithRequestID(t.Context(), "req-1")
		c.Check(ctx, client.CheckRequest{Key: "k", Tier: "pro", Explain: true})
		c.Check(client.WithRequestID(t.Context(), "two\nlines"), client.CheckRequest{Key: "k", Cost: client.Cost(0)})
		calls := limiter.Calls("Check")
		if len(calls) != 2 {
			t.Fatalf("%d calls arrived", len(calls))
		}
		if got, want := calls[0].Request, (&sluicev1.CheckRequest{Key: "k", Tier: "pro", Explain: true}); !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := calls[1].Request.(*sluicev1.CheckRequest); got.Cost == nil || *got.Cost != 0 {
			t.Errorf("a peek arrived as %v", got)
		}
		if calls[0].RequestID != "req-1" || calls[1].RequestID != "" {
			t.Errorf("request ids %q and %q, want req-1 and none", calls[0].RequestID, calls[1].RequestID)
		}
	})
}

// A call that is over may have a try on its way: what the caller does with his Cost since is his.
func TestACallersCostIsHisOwn(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *client.Client, *uint32){
		"Check": func(ctx context.Context, c *client.Client, cost *uint32) {
			_, _ = c.Check(ctx, client.CheckRequest{Key: "k", Cost: cost})
		},
		"CheckBatch": func(ctx context.Context, c *client.Client, cost *uint32) {
			_, _ = c.CheckBatch(ctx, []client.CheckRequest{{Key: "k", Cost: cost}})
		},
		"Acquire": func(ctx context.Context, c *client.Client, cost *uint32) {
			_, _ = c.Acquire(ctx, client.AcquireRequest{Key: "k", RunID: "r", RequestCost: cost})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				over := make(chan struct{})
				c := newClient(t, limiter, client.WithDialOptions(
					grpc.WithStreamInterceptor(func(ctx context.Context, of *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
						s, err := open(ctx, of, conn, method, opts...)
						return lateStream{s, over}, err
					}),
					grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, res any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
						<-over
						return invoke(context.WithoutCancel(ctx), method, req, res, conn, opts...)
					})))
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Millisecond, cancel)
				cost := client.Cost(7)
				ask(ctx, c, cost)
				*cost = 8
				close(over)
				synctest.Wait()
				if got := costOf(limiter.Calls(name)[0].Request); got != 7 {
					t.Errorf("asked with a cost of 7, which became 8 afterwards; %d arrived", got)
				}
			})
		})
	}
}

// A lateStream sends nothing of CheckStream's until over is closed.
type lateStream struct {
	grpc.ClientStream
	over <-chan struct{}
}

func (s lateStream) SendMsg(m any) error {
	if _, watch := m.(*sluicev1.WatchRequest); !watch {
		<-s.over
	}
	return s.ClientStream.SendMsg(m)
}

// costOf is the cost of a request of any kind.
func costOf(req proto.Message) uint32 {
	switch r := req.(type) {
	case *sluicev1.CheckRequest:
		return r.GetCost()
	case *sluicev1.CheckBatchRequest:
		return r.GetChecks()[0].GetCost()
	case *sluicev1.AcquireRequest:
		return r.GetRequestCost()
	}
	return 0
}

func TestCheckBatch(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter, client.WithPolicy(client.FailOpen))
		results, err := c.CheckBatch(t.Context(), []client.CheckRequest{
			{Key: "a", Cost: client.Cost(9)},
			{Key: "not\xffutf8"},
			{Key: ""},
			{Key: "b", Cost: client.Cost(2)},
			{Key: "c"},
		})
		if err != nil || len(results) != 5 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		if r := results[0]; r.Err != nil || !r.Decision.Allowed || r.Decision.Remaining != 1 {
			t.Errorf("first: %+v", r)
		}
		for _, i := range []int{1, 2} {
			var e *client.Error
			if !errors.As(results[i].Err, &e) || e.GRPC != codes.InvalidArgument || results[i].Decision.Allowed {
				t.Errorf("wrong check %d: %+v", i, results[i])
			}
		}
		if s := results[1].Err.Error(); !strings.Contains(s, "/checks/1/key: ") {
			t.Errorf("wrong check 1 is reported as %s", s)
		}
		if r := results[3]; r.Err != nil || r.Decision.Allowed || r.Decision.Reason != client.RateLimited {
			t.Errorf("fourth: %+v", r)
		}
		if r := results[4]; r.Err != nil || !r.Decision.Allowed || r.Decision.Remaining != 0 {
			t.Errorf("fifth: %+v", r)
		}
		if none, err := c.CheckBatch(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("empty batch: %v, %v", none, err)
		}
	})
}

func TestCheckBatchUndecided(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Before("CheckBatch", fakelimiter.Fail(codes.Unavailable))
		checks := []client.CheckRequest{{Key: "a"}, {Key: "not\xffutf8"}}

		closed, err := newClient(t, limiter).CheckBatch(t.Context(), checks)
		if closed != nil || !errors.Is(err, client.ErrUndecided) {
			t.Errorf("fail closed: %+v, %v", closed, err)
		}
		open, err := newClient(t, limiter, client.WithPolicy(client.FailOpen)).CheckBatch(t.Context(), checks)
		if err != nil || len(open) != 2 {
			t.Fatalf("fail open: %+v, %v", open, err)
		}
		if r := open[0]; r.Err != nil || !r.Decision.Allowed || r.Decision.Decided() {
			t.Errorf("fail open: %+v", r)
		}
		if r := open[1]; r.Err == nil || r.Decision.Allowed {
			t.Errorf("fail open let a wrong check pass: %+v", r)
		}
	})
}

// A full batch is answered with more than grpc takes by default.
func TestCheckBatchLargeAnswer(t *testing.T) {
	limiter := fakelimiter.Start(t)
	c := newClient(t, limiter, client.WithTimeout(time.Minute))
	checks := make([]client.CheckRequest, 50_000)
	for i := range checks {
		checks[i] = client.CheckRequest{Key: "k", Cost: client.Cost(2), Explain: true}
	}
	results, err := c.CheckBatch(context.Background(), checks)
	if err != nil || len(results) != len(checks) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	last := results[len(results)-1].Decision
	want := client.WindowState{
		Limit: 10, Per: time.Minute, Used: 10, Remaining: 0, Reset: last.Reset, RetryAfter: last.RetryAfter,
	}
	if last.Reason != client.RateLimited || len(last.Windows) != 4 || last.Windows[3] != want {
		t.Errorf("the last is %+v, want four windows like %+v", last, want)
	}
}

func TestMangledText(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter, client.WithPolicy(client.FailOpen))
		const bad = "sk_live_\xff"
		_, err1 := c.Check(t.Context(), client.CheckRequest{Key: bad})
		_, err2 := c.Check(t.Context(), client.CheckRequest{Key: "k", Tier: bad})
		_, err3 := c.Acquire(t.Context(), client.AcquireRequest{Key: bad, RunID: "r"})
		_, err4 := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: bad})
		_, err5 := c.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r", TaskID: bad})
		for i, want := range []string{"/key", "/tier", "/key", "/run_id", "/task_id"} {
			err := []error{err1, err2, err3, err4, err5}[i]
			var e *client.Error
			if !errors.As(err, &e) || e.Code != contract.InvalidRequest || !strings.HasPrefix(e.Message, want+": ") {
				t.Errorf("error %d is %v, want invalid_request at %s", i, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "sk_live_") {
				t.Errorf("error %d shows the key: %v", i, err)
			}
		}
	})
}
