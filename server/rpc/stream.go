package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// maxStreamTimeout bounds timeout_ms, in milliseconds.
const maxStreamTimeout = 600_000

// checkStream serves one stream of batches.
//
// Batches are received and decided by one goroutine, in their order: on the node that holds
// the keys nothing ever waits. Those of which other nodes decide a part are answered when
// that is done, and hold nobody up. The handler itself only watches for the end, so that a
// stream whose client never ends it does not hold up a shutdown.
func checkStream(srv any, stream grpc.ServerStream) (err error) {
	s := srv.(*service)
	c := newCall(stream.Context(), "CheckStream")
	c.requestID() // fixed now, as two goroutines will ask for it
	defer c.finish(s.log, &err)
	if c.sent {
		c.tell()
	}
	b := batches{service: s, call: &c, stream: stream}
	ended := make(chan error, 1)
	go func() { ended <- b.serve() }()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		b.endWithin(patience)
		return unavailable("the node is shutting down")
	}
}

// patience is how long a shutdown waits for the client of a stream to take an answer.
const patience = 2 * time.Second

// batches is a stream that is being served.
type batches struct {
	*service
	call   *call
	stream grpc.ServerStream

	later sync.WaitGroup // batches that wait for other nodes

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
		defer b.mu.Unlock()
		b.ended = true
		b.mu.Unlock()
		b.later.Wait()
		b.mu.Lock()
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

// answer decides one batch and sends its results.
func (b *batches) answer(in *streamRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer in.wipe()
	if b.ended {
		return nil
	}
	ctx := b.stream.Context()
	count := b.begin(metrics.CheckStream, b.call.id)
	of, err := b.decideBatch(ctx, in, &count)
	if err != nil {
		count.end(err)
		return err
	}
	if len(of.away) == 0 && b.tellable(of.until) {
		count.end(nil)
		return b.stream.SendMsg(of.answer.buffer())
	}
	until := deadline(ctx, count.now)
	if in.timeoutMs > 0 {
		until = min(until, count.now.Add(time.Duration(in.timeoutMs)*time.Millisecond))
	}
	b.later.Add(1)
	go b.answerLater(of, len(in.checks), until)
	return nil
}

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
	err := b.complete(b.stream.Context(), of, until)
	if err != nil {
		of.answer.failAll(err, checks)
	}
	of.count.end(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	// If it cannot be sent the stream has ended, which its reader finds out.
	_ = b.stream.SendMsg(of.answer.buffer())
}
