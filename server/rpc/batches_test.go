package rpc

import (
	"bytes"
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// others are the other nodes of a cluster, which decide everything.
type others func(ctx context.Context, calls []*peer.Call)

func (o others) Ask(ctx context.Context, calls []*peer.Call) []peer.Answer {
	o(ctx, calls)
	answers := make([]peer.Answer, len(calls))
	for i := range answers {
		answers[i].Decision = limiter.Decision{Allowed: true, Exactness: limiter.Exact}
	}
	return answers
}

func (o others) Strict() bool { return true }

// batchStream is a stream of batches without a connection. Its fields are for when it is at rest.
type batchStream struct {
	grpc.ServerStream
	ctx      context.Context
	batches  [][]byte // that its client sends, without ever ending it
	received int      // batches
	sending  func()   // what happens when an answer is sent

	mu   sync.Mutex
	sent []*sluicev1.CheckStreamResponse
}

func (s *batchStream) Context() context.Context { return s.ctx }

func (s *batchStream) RecvMsg(m any) error {
	if s.received == len(s.batches) {
		<-s.ctx.Done()
		return status.FromContextError(s.ctx.Err()).Err()
	}
	m.(receiver).receive(mem.SliceBuffer(bytes.Clone(s.batches[s.received])))
	s.received++
	return nil
}

func (s *batchStream) SendMsg(m any) error {
	b := m.(mem.Buffer)
	defer b.Free()
	if s.sending != nil {
		s.sending()
	}
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	answer := new(sluicev1.CheckStreamResponse)
	err := proto.Unmarshal(b.ReadOnlyData(), answer)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, answer)
	return err
}

// serveBatches serves a stream, as grpc does: its context ends with the handler. The error is the
// handler's.
func serveBatches(t *testing.T, s *batchStream, o others) (r *rig, of *service, ended <-chan error) {
	t.Helper()
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 1000})
	c.Cluster = o
	of = newService(&c)
	over := make(chan error, 1)
	ctx, cancel := context.WithCancel(s.ctx)
	s.ctx = ctx
	go func() {
		defer cancel()
		over <- checkStream(of, s)
	}()
	return r, of, over
}

// batchesOf returns n batches of so many checks.
func batchesOf(t *testing.T, n, checks int) [][]byte {
	req := &sluicev1.CheckStreamRequest{Checks: make([]*sluicev1.CheckRequest, checks)}
	for i := range req.Checks {
		req.Checks[i] = &sluicev1.CheckRequest{Key: "k"}
	}
	all := make([][]byte, n)
	for i := range all {
		req.Sequence = uint64(i) + 1
		all[i] = wire(t, req)
	}
	return all
}

// So many batches of 1,000 may wait.
const mostBatches = mostWaiting/(1000+batchWeight) + 1

// What waited for other nodes once had no bound: the reader went on.
func TestAStreamIsReadNoFurtherWhileTooMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &batchStream{ctx: ctx, batches: batchesOf(t, 2*mostBatches, 1000)}
		answer := make(chan struct{})
		_, _, ended := serveBatches(t, s, func(ctx context.Context, _ []*peer.Call) {
			select {
			case <-answer:
			case <-ctx.Done():
			}
		})
		synctest.Wait()
		if s.received != mostBatches {
			t.Errorf("%d batches were read, want %d", s.received, mostBatches)
		}
		for range 3 {
			answer <- struct{}{}
		}
		synctest.Wait()
		if s.received != mostBatches+3 || len(s.sent) != 3 {
			t.Errorf("%d batches were read, %d answered", s.received, len(s.sent))
		}
		cancel()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// Single checks cost the most, as each is a batch.
func TestBatchesThatWaitHaveAWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &batchStream{ctx: ctx, batches: batchesOf(t, mostWaiting/batchWeight, 1)}
		_, _, ended := serveBatches(t, s, func(ctx context.Context, _ []*peer.Call) { <-ctx.Done() })
		synctest.Wait()
		if want := mostWaiting/(1+batchWeight) + 1; s.received != want {
			t.Errorf("%d batches were read, want %d", s.received, want)
		}
		cancel()
		<-ended
	})
}

// A shutdown reads nothing more, and waits for what other nodes decide, but not beyond its patience.
func TestShutdownOfAStreamThatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		batches int
		latency time.Duration
		took    time.Duration
		sent    int
	}{
		"one, answered":     {1, patience / 2, patience / 2, 1},
		"one, never":        {1, time.Hour, patience, 0},
		"too many":          {2 * mostBatches, patience / 2, patience / 2, mostBatches},
		"too many, forever": {2 * mostBatches, time.Hour, patience, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &batchStream{ctx: t.Context(), batches: batchesOf(t, c.batches, 1000)}
				_, of, ended := serveBatches(t, s, func(ctx context.Context, _ []*peer.Call) {
					select {
					case <-time.After(c.latency):
					case <-ctx.Done():
					}
				})
				synctest.Wait()
				began := time.Now()
				of.drain()
				notNow.check(t, <-ended)
				s.mu.Lock()
				sent := len(s.sent)
				s.mu.Unlock()
				if took := time.Since(began); took != c.took || sent != c.sent {
					t.Errorf("it took %v, and %d batches were answered", took, sent)
				}
				synctest.Wait()
				if s.received != min(c.batches, mostBatches) {
					t.Errorf("%d batches were read", s.received)
				}
			})
		})
	}
}

// A time-out above five seconds was once cut to them.
func TestTimeoutOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		timeout uint32        // in milliseconds
		stream  time.Duration // 0: it has no deadline
		want    time.Duration
	}{
		"none":              {0, 0, 5 * time.Second},
		"short":             {1, 0, time.Millisecond},
		"long":              {600_000, 0, 10 * time.Minute},
		"the stream's":      {0, 10 * time.Second, 10 * time.Second},
		"sooner":            {7_000, 10 * time.Second, 7 * time.Second},
		"the stream sooner": {600_000, 10 * time.Second, 10 * time.Second},
		"a far stream":      {0, math.MaxInt64, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &batchStream{ctx: t.Context(), batches: [][]byte{
					wire(t, &sluicev1.CheckStreamRequest{TimeoutMs: c.timeout, Checks: []*sluicev1.CheckRequest{{Key: "k"}}}),
				}}
				if c.stream > 0 {
					ctx, cancel := context.WithTimeout(s.ctx, c.stream)
					defer cancel()
					s.ctx = ctx
				}
				until := make(chan limiter.Instant, 1)
				_, of, ended := serveBatches(t, s, func(_ context.Context, calls []*peer.Call) { until <- calls[0].Deadline })
				if got := (<-until).Sub(0); got != c.want { // its clock says 0
					t.Errorf("it waits for %v, want %v", got, c.want)
				}
				of.drain()
				<-ended
			})
		})
	}
}

// A deadline beyond what an Instant holds was once in the past.
func TestFarDeadline(t *testing.T) {
	for _, far := range []time.Duration{2 * time.Hour, 2562047 * time.Hour, math.MaxInt64} {
		ctx, cancel := context.WithTimeout(t.Context(), far)
		defer cancel()
		if got := deadline(ctx, origin); got != origin.Add(longestWait) {
			t.Errorf("%v: it waits for %v, want an hour", far, got.Sub(origin))
		}
	}
}

// A panic behind the reader's back once ended the process.
func TestPanicWhileABatchWaits(t *testing.T) {
	for name, c := range map[string]struct {
		decided, sent func()
		answers       int
	}{
		"decided": {decided: func() { panic("the cluster") }, answers: 2},
		"sent":    {sent: func() { panic("the stream") }, answers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &batchStream{ctx: t.Context(), batches: batchesOf(t, 2, 3), sending: first(c.sent)}
				decided := first(c.decided)
				r, of, ended := serveBatches(t, s, func(context.Context, []*peer.Call) { decided() })
				synctest.Wait()
				of.drain()
				notNow.check(t, <-ended)
				failed := 0
				for _, answer := range s.sent {
					if len(answer.Results) != 3 || answer.Sequence == 0 {
						t.Errorf("an answer is %v", answer)
					}
					for _, result := range answer.Results {
						if e := result.GetError(); e != nil {
							fromPanic.check(t, status.ErrorProto(e))
							failed++
						}
					}
				}
				if len(s.sent) != c.answers || failed != 3*count(c.decided != nil) {
					t.Errorf("%d answers, %d errors", len(s.sent), failed)
				}
				if log := r.log.String(); strings.Count(log, "msg=panic") != 1 || !strings.Contains(log, "method=CheckStream") {
					t.Errorf("the log is %s", log)
				}
			})
		})
	}
}

// first returns what does f the first time, and nothing later.
func first(f func()) func() {
	var once sync.Once
	return func() {
		if f != nil {
			once.Do(f)
		}
	}
}
