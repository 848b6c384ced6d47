package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// slowDial connects to limiter after d.
func slowDial(limiter *fakelimiter.Limiter, d time.Duration) client.Option {
	return client.WithDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		select {
		case <-time.After(d):
			return limiter.Dial(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}))
}

// What waits at the same time travels in one message of each stream.
func TestConcurrentChecksShareMessages(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Units = 100
		c := newClient(t, limiter, client.WithTimeout(time.Minute), slowDial(limiter, 500*time.Millisecond))
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { mustCheck(t, c, "k") })
		}
		all.Wait()
		calls := limiter.Calls("Check")
		if len(calls) != 100 || limiter.Used() != 100 {
			t.Fatalf("%d calls, %d units used", len(calls), limiter.Used())
		}
		for _, call := range calls {
			if !call.Stream || call.Sequence != 1 {
				t.Errorf("a check came by stream: %v, in message %d", call.Stream, call.Sequence)
			}
		}
	})
}

// What comes while a message is answered shares the next, which waits for that answer, but not
// for long: the answer may wait for a node that is silent.
func TestChecksGatherWhileAMessageIsAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		answered time.Duration // after which the message before is
		gap      time.Duration // from its sending to the next
	}{
		"soon": {600 * time.Microsecond, 600 * time.Microsecond},
		"late": {30 * time.Millisecond, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				limiter.Units = 100
				limiter.Before("Check", func(_ context.Context, req proto.Message) error {
					if strings.HasPrefix(req.(*sluicev1.CheckRequest).GetKey(), "slow") {
						time.Sleep(test.answered)
					}
					return nil
				})
				c := newClient(t, limiter, client.WithTimeout(time.Minute))
				mustCheck(t, c, "first")
				mustCheck(t, c, "first") // by the other stream
				var all sync.WaitGroup
				begun := time.Now()
				all.Go(func() { mustCheck(t, c, "slow") })
				all.Go(func() { mustCheck(t, c, "slow") })
				for range 10 {
					pass(20 * time.Microsecond)
					all.Go(func() { mustCheck(t, c, "gathered") })
				}
				all.Wait()
				for _, call := range limiter.Calls("Check") {
					if call.Request.(*sluicev1.CheckRequest).GetKey() != "gathered" {
						continue
					}
					if gap := call.Time.Sub(begun); call.Sequence != 3 || gap < test.gap || gap > test.gap+100*time.Microsecond {
						t.Errorf("a check came after %v in message %d, want after %v in the third", gap, call.Sequence, test.gap)
					}
				}
			})
		})
	}
}

// A message that has enough checks waits for no answer, and one with fewer does.
func TestFullMessagesDoNotWait(t *testing.T) {
	const enough, streams = 64, 2
	for callers, want := range map[int]int{streams * (enough - 1): 0, streams * enough: streams * enough} {
		if got := sentAtOnce(t, callers); got != want {
			t.Errorf("%d of %d checks were sent at once, want %d: %d make a message of one of %d streams", got, callers, want, enough, streams)
		}
	}
}

// sentAtOnce is how many of the checks that so many callers make at a time are sent then, while
// all streams wait for answers.
func sentAtOnce(t *testing.T, callers int) (atOnce int) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Units = uint32(callers) + 2
		limiter.Before("Check", func(_ context.Context, req proto.Message) error {
			if req.(*sluicev1.CheckRequest).GetKey() == "slow" {
				time.Sleep(30 * time.Millisecond)
			}
			return nil
		})
		c := newClient(t, limiter, client.WithTimeout(time.Minute))
		var all sync.WaitGroup
		all.Go(func() { mustCheck(t, c, "slow") })
		all.Go(func() { mustCheck(t, c, "slow") })
		pass(20 * time.Microsecond)
		begun := time.Now()
		for range callers {
			all.Go(func() { mustCheck(t, c, "many") })
		}
		all.Wait()
		for _, call := range limiter.Calls("Check") {
			if call.Time.Equal(begun) {
				atOnce++
			}
		}
	})
	return atOnce
}

// The queue is bounded: who finds no room waits, and is answered all the same.
func TestMoreChecksThanTheQueueHolds(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		const callers = 5000
		limiter.Units = callers
		c := newClient(t, limiter, client.WithTimeout(time.Minute), slowDial(limiter, 500*time.Millisecond))
		var all sync.WaitGroup
		for range callers {
			all.Go(func() { mustCheck(t, c, "k") })
		}
		all.Wait()
		if limiter.Used() != callers {
			t.Errorf("%d units used by %d checks", limiter.Used(), callers)
		}
		largest := map[uint64]int{}
		for _, call := range limiter.Calls("Check") {
			largest[call.Sequence]++
		}
		if largest[1] > 2*2048 {
			t.Errorf("%d checks in the first messages of two streams", largest[1])
		}
	})
}

// What is given up before it is sent is not sent.
func TestGivenUpChecksAreNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter, slowDial(limiter, 500*time.Millisecond))
		for range 5 {
			if _, err := c.Check(t.Context(), client.CheckRequest{Key: "k"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("before there was a connection: %v", err)
			}
		}
		pass(5 * time.Second)
		if n := len(limiter.Calls("Check")); n != 0 {
			t.Errorf("%d checks were sent to nobody's use", n)
		}
		mustCheck(t, c, "k")
	})
}

// A caller that goes away is let go within milliseconds, whether its check is under way or not yet, which is
// then not sent, and whether it goes by itself or with a deadline of its own. Those that share its message
// are answered all the same.
func TestCanceledChecksAreLetGo(t *testing.T) {
	const answered, glance = 40 * time.Millisecond, 5 * time.Millisecond
	for name, connecting := range map[string]time.Duration{"under way": 0, "not sent": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				limiter.Before("Check", during(func() { time.Sleep(answered) }))
				c := newClient(t, limiter, client.WithTimeout(time.Minute), slowDial(limiter, connecting))
				pass(time.Microsecond)
				canceled, cancel := context.WithCancel(t.Context())
				late, cancelLate := context.WithTimeout(t.Context(), 17*time.Millisecond)
				defer cancelLate()
				begun := time.Now()
				var all sync.WaitGroup
				for range 2 { // one on each stream
					all.Go(func() {
						_, err := c.Check(canceled, client.CheckRequest{Key: "gone"})
						if after := time.Since(begun); !errors.Is(err, context.Canceled) || after < 13*time.Millisecond || after > 13*time.Millisecond+glance {
							t.Errorf("canceled after 13 ms: %v after %v", err, after)
						}
					})
					all.Go(func() {
						_, err := c.Check(late, client.CheckRequest{Key: "gone"})
						if after := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || after != 17*time.Millisecond {
							t.Errorf("with a deadline of 17 ms: %v after %v", err, after)
						}
					})
					all.Go(func() { mustCheck(t, c, "stays") })
				}
				pass(13 * time.Millisecond)
				cancel()
				all.Wait()
				keys := map[string]int{}
				for _, call := range limiter.Calls("Check") {
					keys[call.Request.(*sluicev1.CheckRequest).GetKey()]++
				}
				want := 0
				if connecting == 0 {
					want = 4
				}
				if keys["gone"] != want || keys["stays"] != 2 {
					t.Errorf("sent: %v, want %d of those who went and 2 of those who stayed", keys, want)
				}
			})
		})
	}
}

// Metadata is a call's own, and so is a call that has some.
func TestMetadataNeedsACallOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		for _, ctx := range []context.Context{
			client.WithRequestID(t.Context(), "r"),
			metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-1-2-00"),
		} {
			if _, err := c.Check(ctx, client.CheckRequest{Key: "k"}); err != nil {
				t.Fatal(err)
			}
		}
		mustCheck(t, c, "k")
		calls := limiter.Calls("Check")
		if calls[0].Stream || calls[1].Stream || !calls[2].Stream {
			t.Errorf("by stream: %v, %v, %v; want only the last", calls[0].Stream, calls[1].Stream, calls[2].Stream)
		}
	})
}

// An error about one check of a shared message reads as if it had been alone.
func TestErrorsNameTheCallersField(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		refuse := func(context.Context, proto.Message) error {
			return status.Error(codes.InvalidArgument, "/checks/17/tier: no such tier")
		}
		limiter.Before("Check", refuse)
		limiter.Before("batched", refuse)
		c := newClient(t, limiter)
		var e *client.Error
		if _, err := c.Check(t.Context(), client.CheckRequest{Key: "k"}); !errors.As(err, &e) || e.Message != "/tier: no such tier" {
			t.Errorf("Check: %v", err)
		}
		results, err := c.CheckBatch(t.Context(), []client.CheckRequest{{Key: "\xff"}, {Key: "k"}})
		if err != nil || !errors.As(results[1].Err, &e) || e.Message != "/checks/1/tier: no such tier" {
			t.Errorf("CheckBatch: %+v, %v", results, err)
		}
	})
}

func TestBatchIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		_, err := newClient(t, limiter).CheckBatch(t.Context(), make([]client.CheckRequest, 100_001))
		var e *client.Error
		if !errors.As(err, &e) || e.GRPC != codes.InvalidArgument || !strings.HasPrefix(e.Message, "/checks: ") {
			t.Errorf("%v", err)
		}
	})
}
