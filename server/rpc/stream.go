package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// maxStreamTimeout bounds timeout_ms, in milliseconds.
const maxStreamTimeout = 600_000

// What waits for other nodes is kept until it is answered. While more than mostWaiting checks of a
// stream do, no further batch is received. A batch costs memory as batchWeight checks more.
const (
	mostWaiting = 100_000
	batchWeight = 8
)

// checkStream serves one stream of batches.
//
// Batches are received and decided by one goroutine, in their order: on the node that holds
// the keys nothing ever waits. Those of which other nodes decide a part are answered when
// that is done, and hold nobody up, unless too many wait. The handler itself only watches for
// the end, so that a stream whose client never ends it does not hold up a shutdown.
func checkStream(srv any, stream grpc.ServerStream) (err error) {
	s := srv.(*service)
	c := newCall(stream.Context(), "CheckStream")
	c.requestID() // fixed now, as two goroutines will ask for it
	defer c.finish(s.log, &err)
	if c.sent {
		c.tell()
	}
	b := batches{service: s, call: &c, id: c.id, stream: stream, fewer: make(chan struct{}, 1)}
	defer func() {
		if b.tells.Load() {
			c.id = "" // as it is about to be logged
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- b.serve() }()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		b.endWithin(patience)
		return shuttingDown()
	}
}

func shuttingDown() error { return unavailable("the node is shutting down") }

// patience is how long a shutdown waits for the client of a stream to take an answer.
const patience = 2 * time.Second

// batches is a stream that is being served.
type batches struct {
	*service
	call   *call
	stream grpc.ServerStream

	id    string      // the request id
	tells atomic.Bool // it tells the key of a check

	later   sync.WaitGroup // batches that wait for other nodes
	waiting atomic.Int64   // what they weigh
	fewer   chan struct{}  // tells the reader that it is less

	mu    sync.Mutex // held while a batch is decided and answered
	ended bool       // no further batch may be; guarded by mu
}

// endWithin waits for the batch under way and lets no other begin. A client that does
// not read holds it up no longer than d: its batch ends with the stream.
func (b *batches) endWithin(d time.Duration) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		b.mu.Lock()
		b.ended = true
		b.mu.Unlock()
		b.later.Wait() // which none joins any more
	}()
	select {
	case <-over:
	case <-time.After(d):
	}
}

// serve answers batches until the stream ends.
func (b *batches) serve() (err error) {
	defer b.call.recovered(b.log, &err)
	defer b.later.Wait()
	in := new(streamRequest)
	for {
		if err := b.awaitFewer(); err != nil {
			return err
		}
		*in = streamRequest{}
		if err := b.stream.RecvMsg(in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := b.answer(in); err != nil {
			return err
		}
	}
}

// awaitFewer waits while too much waits for other nodes. Its error is why the stream ends instead.
func (b *batches) awaitFewer() error {
	for b.waiting.Load() > mostWaiting {
		ctx := b.stream.Context()
		select {
		case <-b.fewer:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-b.draining:
			return shuttingDown()
		}
	}
	return nil
}

// answer decides one batch and sends its results.
func (b *batches) answer(in *streamRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer in.wipe()
	if b.ended {
		return nil
	}
	ctx := b.stream.Context()
	count := b.begin(metrics.CheckStream, b.loggedID())
	of, err := b.decideBatch(ctx, in, &count)
	if count.id == "" {
		b.tells.Store(true)
	}
	if err != nil {
		count.end(err)
		return err
	}
	if len(of.away) == 0 && b.tellable(of.until) {
		count.end(nil)
		return b.stream.SendMsg(of.answer.buffer())
	}
	b.later.Add(1)
	b.waiting.Add(of.weight())
	go b.answerLater(of, len(in.checks), in.deadline(ctx, count.now))
	return nil
}

// loggedID returns the request id, as it may be logged.
func (b *batches) loggedID() string {
	if b.tells.Load() {
		return ""
	}
	return b.id
}

// deadline returns until when the caller waits for a batch that was received now.
func (in *streamRequest) deadline(ctx context.Context, now limiter.Instant) limiter.Instant {
	if in.timeoutMs == 0 {
		return deadline(ctx, now)
	}
	timeout := time.Duration(in.timeoutMs) * time.Millisecond
	return now.Add(min(timeout, timeLeft(ctx, timeout)))
}

// weight is what a batch that waits for other nodes counts of mostWaiting.
func (b *decided) weight() int64 { return int64(len(b.away) + batchWeight) }

// decideBatch decides what this node decides of a batch.
func (b *batches) decideBatch(ctx context.Context, in *streamRequest, count *counting) (*decided, error) {
	if in.err != nil {
		return nil, in.err
	}
	if in.timeoutMs > maxStreamTimeout {
		return nil, field{name: "timeout_ms"}.outOfRange(fmt.Sprintf("is %d, must be from 0 to %d", in.timeoutMs, maxStreamTimeout))
	}
	to, err := room(ctx)
	if err != nil {
		return nil, err
	}
	answer := newBatchAnswer(2, appendUint64(nil, 1, in.sequence), len(in.checks), to)
	of, err := b.decideAll(ctx.Done(), count, answer, in.checks)
	if err != nil {
		answer.drop()
	}
	return of, err
}

// answerLater answers a batch of so many checks, of which other nodes decide a part, while the
// stream goes on.
func (b *batches) answerLater(of *decided, checks int, until limiter.Instant) {
	defer b.later.Done()
	defer b.waited(of)
	var err error
	defer b.call.recovered(b.log, &err) // whatever happens below, the process goes on
	if err = b.settle(of, until); err != nil {
		of.answer.failAll(err, checks)
	}
	of.count.end(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	// If it cannot be sent the stream has ended, which its reader finds out.
	_ = b.stream.SendMsg(of.answer.buffer())
}

// settle has the rest of a batch decided. A panic is an error.
func (b *batches) settle(of *decided, until limiter.Instant) (err error) {
	defer b.call.recovered(b.log, &err)
	return b.complete(b.stream.Context(), of, until)
}

// waited notes that a batch waits no longer.
func (b *batches) waited(of *decided) {
	b.waiting.Add(-of.weight())
	select {
	case b.fewer <- struct{}{}:
	default: // the reader has yet to look
	}
}
