package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// both are the two ways in which a check is sent.
var both = map[string]func(context.Context) context.Context{
	"by stream":            func(ctx context.Context) context.Context { return ctx },
	"as a call of its own": func(ctx context.Context) context.Context { return client.WithRequestID(ctx, "r") },
}

// A node that hangs costs its callers one try, and then nobody for a while.
func TestHangingNode(t *testing.T) {
	for name, with := range both {
		t.Run(name, func(t *testing.T) {
			clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
				key := cluster.Key(0)
				mustCheck(t, c, key)
				cluster.Nodes[0].Hang()
				var took []time.Duration
				for range 100 {
					start := time.Now()
					d, err := c.Check(with(t.Context()), client.CheckRequest{Key: key})
					if err != nil || !d.Decided() {
						t.Fatalf("after %v: %+v, %v", time.Since(start), d, err)
					}
					took = append(took, time.Since(start))
					pass(10 * time.Millisecond)
				}
				slow := 0
				for i, d := range took {
					if d != 0 && d != 40*time.Millisecond {
						t.Errorf("call %d took %v, want a try of 40 ms or nothing", i, d)
					}
					if d != 0 {
						slow++
					}
				}
				if slow < 3 || slow > 5 { // until it is avoided, and one a second
					t.Errorf("%d calls waited for the node that hangs, want 3 and one or two probes", slow)
				}

				cluster.Nodes[0].Wake()
				pass(3 * time.Second)
				mustCheck(t, c, key) // finds out
				before := cluster.Asked("Check")[0]
				for range 10 {
					mustCheck(t, c, key)
				}
				if got := cluster.Asked("Check")[0] - before; got != 10 {
					t.Errorf("the node is awake, and was asked %d times of 10", got)
				}
			})
		})
	}
}

// A call that finds all other nodes avoided looks again before its deadline: they may be well by then.
func TestACallIsNotLeftToASilentNode(t *testing.T) {
	for name, with := range both {
		t.Run(name, func(t *testing.T) {
			clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
				key, other := cluster.Key(0), cluster.Key(1)
				mustCheck(t, c, key)
				cluster.Nodes[1].Hang()
				for range 3 {
					mustCheck(t, c, other)
				}
				cluster.Nodes[1].Wake()
				cluster.Nodes[0].Hang()
				start := time.Now()
				if d, err := c.Check(with(t.Context()), client.CheckRequest{Key: key}); err != nil || !d.Decided() || time.Since(start) > 600*time.Millisecond {
					t.Errorf("after %v: %+v, %v", time.Since(start), d, err)
				}
				cluster.Nodes[0].Wake()
			}, client.WithTimeout(5*time.Second))
		})
	}
}

// A node that answers others is not silent: what waits there, as a partition is being handed
// over, is not asked of another node as well, which might count it twice.
func TestOneThatWaitsIsAskedOnce(t *testing.T) {
	for name, with := range both {
		for timeout, want := range map[time.Duration]int{50 * time.Millisecond: 1, 5 * time.Second: 2} {
			t.Run(fmt.Sprint(name, ", ", timeout), func(t *testing.T) { oneThatWaits(t, with, timeout, want) })
		}
	}
}

// oneThatWaits has one check wait at a node that answers others, and wants so many tries of it.
func oneThatWaits(t *testing.T, with func(context.Context) context.Context, timeout time.Duration, want int) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		key := cluster.Key(0)
		mustCheck(t, c, key)
		cluster.Before("Check", func(ctx context.Context, req proto.Message) error {
			if req.(*sluicev1.CheckRequest).GetCost() == 3 {
				time.Sleep(600 * time.Millisecond)
			}
			return nil
		})
		before := len(cluster.Calls("Check"))
		go func() {
			for range 8 {
				pass(5 * time.Millisecond)
				if _, err := c.Check(with(t.Context()), client.CheckRequest{Key: key}); err != nil {
					t.Error(err)
				}
			}
		}()
		_, _ = c.Check(with(t.Context()), client.CheckRequest{Key: key, Cost: client.Cost(3)})
		tries := 0
		for _, call := range cluster.Calls("Check")[before:] {
			if call.Request.(*sluicev1.CheckRequest).GetCost() == 3 {
				tries++
			}
		}
		if tries != want {
			t.Errorf("%d tries of one check, want %d", tries, want)
		}
	}, client.WithTimeout(timeout))
}

// A longer deadline allows for longer tries, of half a second at most.
func TestTriesGrowWithTheDeadline(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond:  40 * time.Millisecond,
		300 * time.Millisecond: 100 * time.Millisecond,
		5 * time.Second:        500 * time.Millisecond,
	} {
		clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
			cluster.Nodes[0].Hang()
			start := time.Now()
			mustCheck(t, c, cluster.Key(0))
			if took := time.Since(start); took != want {
				t.Errorf("with %v: took %v, want %v", timeout, took, want)
			}
		}, client.WithTimeout(timeout))
	}
}

// The first answer wins, also if it is that of the node that was waited for too briefly.
func TestFirstAnswerWins(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		cluster.Nodes[0].Hang()
		cluster.Nodes[1].Hang()
		time.AfterFunc(30*time.Millisecond, cluster.Nodes[0].Wake)
		start := time.Now()
		mustCheck(t, c, cluster.Key(0))
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if cluster.Used() != 1 {
			t.Errorf("%d units used", cluster.Used())
		}
		// What the other node decides too late is counted: a retry errs toward denial.
		cluster.Nodes[1].Wake()
		synctest.Wait()
		if used := cluster.Used(); used > 2 {
			t.Errorf("%d units used by one check that was tried twice", used)
		}
	})
}

// Whoever hangs tells no topology either: it is learned from another.
func TestTopologyIsLearnedElsewhere(t *testing.T) {
	for hangs, targetOf := range []func(*fakelimiter.Cluster) string{
		func(cluster *fakelimiter.Cluster) string { return cluster.Target(0) },
		func(cluster *fakelimiter.Cluster) string { return cluster.Target(1) },
		// By another name than the node's own.
		func(cluster *fakelimiter.Cluster) string { return "passthrough:///" + cluster.Target(2) },
	} {
		synctest.Test(t, func(t *testing.T) {
			cluster := fakelimiter.StartClusterInMemory(t, 3)
			c := clusterClient(t, targetOf(cluster), client.WithDialOptions(cluster.DialOption()))
			pass(time.Second)
			cluster.Nodes[hangs].Hang()
			key := cluster.Key(hangs)
			for range 3 {
				mustCheck(t, c, key)
			}
			pass(100 * time.Millisecond)
			cluster.Move(key, (hangs+1)%3)
			pass(10 * time.Second)
			start := time.Now()
			mustCheck(t, c, key)
			if took := time.Since(start); took != 0 {
				t.Errorf("node %d hangs, its key moved, and a check took %v", hangs, took)
			}
		})
	}
}

// A server that says goodbye to a connection has time to answer what came by it.
func TestGoodbyeBreaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := fakelimiter.Start(t, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: time.Second, MaxConnectionAgeGrace: 200 * time.Millisecond,
		}))
		limiter.Units = 1_000_000
		limiter.After("Check", during(func() { time.Sleep(3 * time.Millisecond) }))
		c := newClient(t, limiter, client.WithTimeout(5*time.Second))
		const callers, each = 4, 2000 // for 6 s
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range each {
					mustCheck(t, c, "k")
				}
			})
		}
		all.Wait()
		if used := limiter.Used(); used != callers*each {
			t.Errorf("%d checks were counted as %d", callers*each, used)
		}
	})
}

func TestAllNodesHang(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		for _, n := range cluster.Nodes {
			n.Hang()
		}
		for range 5 {
			start := time.Now()
			_, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 50*time.Millisecond {
				t.Errorf("after %v: %v", took, err)
			}
		}
		for _, n := range cluster.Nodes {
			n.Wake()
		}
		pass(3 * time.Second)
		mustCheck(t, c, "k")
	})
}

// UNAVAILABLE means undecided: the call is tried again until there is no time left.
func TestUnavailableIsTriedAgain(t *testing.T) {
	for name, with := range both {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
				c := newClient(t, limiter)
				fails := 4
				limiter.Before("Check", func(ctx context.Context, req proto.Message) error {
					if fails--; fails >= 0 {
						return fakelimiter.Fail(codes.Unavailable)(ctx, req)
					}
					return nil
				})
				start := time.Now()
				d, err := c.Check(with(t.Context()), client.CheckRequest{Key: "k"})
				if err != nil || !d.Allowed || limiter.Used() != 1 {
					t.Errorf("%+v, %v; %d units used", d, err, limiter.Used())
				}
				// 2, 4, 8 and 16 ms, each shortened by up to a half.
				if took := time.Since(start); took < 15*time.Millisecond || took > 30*time.Millisecond {
					t.Errorf("four pauses took %v", took)
				}

				fails = 1000
				start = time.Now()
				_, err = c.Check(with(t.Context()), client.CheckRequest{Key: "k"})
				var e *client.Error
				if !errors.As(err, &e) || e.GRPC != codes.Unavailable || e.Message != "told to fail" {
					t.Errorf("%v, want the last answer's error", err)
				}
				if took := time.Since(start); took != client.DefaultTimeout {
					t.Errorf("gave up after %v", took)
				}
			})
		})
	}
}

// The server's advice shortens pauses, and never draws them out.
func TestRetryInfoBoundsThePause(t *testing.T) {
	for delay, want := range map[time.Duration][2]int{time.Millisecond: {40, 110}, time.Second: {4, 8}} {
		bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
			limiter.Before("Check", func(context.Context, proto.Message) error {
				st, _ := status.New(codes.Unavailable, "no").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
				return st.Err()
			})
			newClient(t, limiter).Check(t.Context(), client.CheckRequest{Key: "k"})
			if n := len(limiter.Calls("Check")); n < want[0] || n > want[1] {
				t.Errorf("advised to wait %v: %d tries in 50 ms, want %v", delay, n, want)
			}
		})
	}
}

// A batch asks again only for what could not be decided.
func TestBatchTriesAgainWhatWasNotDecided(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		var failed atomic.Bool
		cluster.Before("batched", func(_ context.Context, req proto.Message) error {
			if req.(*sluicev1.CheckRequest).GetKey() == "late" && !failed.Swap(true) {
				return status.Error(codes.Unavailable, "not yet")
			}
			return nil
		})
		results, err := c.CheckBatch(t.Context(), []client.CheckRequest{{Key: "a"}, {Key: "late"}, {Key: "b"}, {Key: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || !r.Decision.Allowed {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if !failed.Load() || cluster.Used() != 4 {
			t.Errorf("%d units used for 4 checks", cluster.Used())
		}
	})
}

// One node hangs: its part of a batch is answered by the other.
func TestBatchWithAHangingNode(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		cluster.Nodes[0].Hang()
		results, err := c.CheckBatch(t.Context(), []client.CheckRequest{{Key: cluster.Key(0)}, {Key: cluster.Key(1)}})
		if err != nil || results[0].Err != nil || results[1].Err != nil {
			t.Errorf("%+v, %v", results, err)
		}
	})
}

func TestAcquireWithAHangingNode(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		key := cluster.Key(0)
		cluster.Nodes[0].Hang()
		l := acquire(t, c, client.AcquireRequest{Key: key, RunID: "r", RequestCost: client.Cost(1)})
		pass(5 * time.Minute)
		if isLost(l) {
			t.Fatalf("the lease was lost to a node that hangs: %v", l.Err())
		}
		if err := l.Release(t.Context()); err != nil || len(cluster.Held()) != 0 {
			t.Errorf("Release: %v, held %v", err, cluster.Held())
		}
	})
}

// Nodes without streams are asked by calls, and so is one that refuses a stream: each
// caller then has an answer of its own.
func TestWithoutStreams(t *testing.T) {
	for code, want := range map[codes.Code]contract.Code{
		codes.Unimplemented: "", codes.PermissionDenied: contract.Forbidden,
	} {
		bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
			limiter.Before("CheckStream", fakelimiter.Fail(code))
			if want != "" {
				limiter.Before("Check", fakelimiter.Fail(code))
			}
			c := newClient(t, limiter)
			for range 3 {
				d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
				var e *client.Error
				if want == "" && (err != nil || !d.Allowed) || want != "" && (!errors.As(err, &e) || e.Code != want) {
					t.Errorf("%v: %+v, %v", code, d, err)
				}
			}
			for _, call := range limiter.Calls("Check") {
				if call.Stream {
					t.Error("a check came by a stream that was refused")
				}
			}
		})
	}
}

func TestCloseFailsCallsUnderWay(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		for _, n := range cluster.Nodes {
			n.Hang()
		}
		for _, with := range both {
			go func() {
				_, err := c.Check(with(context.Background()), client.CheckRequest{Key: "k"})
				if !errors.Is(err, client.ErrUndecided) {
					t.Errorf("closed under way: %v", err)
				}
			}()
		}
		pass(time.Second)
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("Close took %v", took)
		}
		if _, err := c.Check(t.Context(), client.CheckRequest{Key: "k"}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a check of a closed client: %v", err)
		}
	}, client.WithTimeout(time.Hour))
}
