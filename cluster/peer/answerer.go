package peer

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// An answerer answers the calls of one stream: whatever is ready shares a message.
type answerer struct {
	t    *Transport
	wake chan struct{} // tells the writer to look

	mu    sync.Mutex // guards what follows
	ready [][]byte   // encoded answers, about a message each
	over  bool
}

// maxReady bounds the messages of answers that wait for a node to read them. It is far above
// what a node of ours may ask before it has read: that one is given up which asks on.
const maxReady = 64

var errUnread = status.Error(codes.ResourceExhausted, "the node asks and does not read the answers")

// Forward decides the calls of another node.
func (s *service) Forward(stream grpc.BidiStreamingServer[peerv1.ForwardRequest, peerv1.ForwardResponse]) error {
	t := s.t
	req := new(questions)
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	received, hello := t.Clock(), req.hello
	n, session, err := t.open(callLane, hello, func(ours *peerv1.Hello) error { return stream.SendMsg(&answers{hello: ours}) })
	if err != nil {
		return err
	}
	defer t.shut(n, callLane, session, hello.GetBoot())
	a := &answerer{t: t, wake: make(chan struct{}, 1)}
	defer a.end()
	signs := time.NewTicker(sign[callLane])
	defer signs.Stop()
	// Reading ends when this function has returned.
	reading := make(chan error, 1)
	t.running.Go(func() { reading <- a.read(stream, req, received) })
	for {
		select {
		case <-a.wake:
		case <-signs.C:
			if err := stream.SendMsg(new(answers)); err != nil {
				return err
			}
		case err := <-reading:
			if !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		case <-session.over:
			return session.reason()
		case <-t.closing:
			return a.write(stream)
		}
		if err := a.write(stream); err != nil {
			return err
		}
	}
}

// write sends what is ready.
func (a *answerer) write(stream grpc.ServerStream) error {
	for {
		a.mu.Lock()
		ready := a.ready
		a.ready = nil
		a.mu.Unlock()
		if len(ready) == 0 {
			return nil
		}
		for _, b := range ready {
			if err := stream.SendMsg(&answers{wire: b}); err != nil {
				return err
			}
		}
	}
}

// unread tells whether more answers wait than may.
func (a *answerer) unread() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ready) > maxReady
}

func (a *answerer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over, a.ready = true, nil
}

// read hands calls over until the stream ends. req, received then, had the hello.
func (a *answerer) read(stream grpc.ServerStream, req *questions, received limiter.Instant) error {
	// It counts for a few seconds only, as a machine whose clock stood still (a guest that was
	// moved) sends by another clock from then on: until then its calls seem to come late.
	var shift ownership.Shift
	shift.Note(req.stamp, received)
	for {
		if err := stream.RecvMsg(req); err != nil {
			return err
		}
		if a.unread() {
			return errUnread
		}
		now := a.t.Clock()
		// Who reads late, or is sent what waited on the way, must not decide what nobody
		// waits for any more.
		shift.Note(req.stamp, now)
		sent := req.stamp.Add(shift.Least())
		calls := make([]*Call, 0, len(req.calls))
		handed := make([]pending, 0, len(req.calls))
		for i := range req.calls {
			c := &req.calls[i]
			c.Deadline = sent.Add(c.remaining)
			p := pending{c.id, c.Kind}
			if c.Deadline <= now {
				a.answer(p, &Answer{Undecided: true})
				continue
			}
			calls = append(calls, &c.Call)
			handed = append(handed, p)
		}
		if len(calls) > 0 {
			a.t.Handler.Decide(stream.Context(), calls, func(i int, answer Answer) { a.answer(handed[i], &answer) })
		}
	}
}

// pending is a call that was handed over.
type pending struct {
	id   uint64
	kind Kind
}

// answer makes an answer ready.
func (a *answerer) answer(p pending, answer *Answer) {
	a.mu.Lock()
	if a.over {
		a.mu.Unlock()
		return
	}
	first := len(a.ready) == 0
	last := len(a.ready) - 1
	if first || len(a.ready[last]) >= pieceBytes {
		a.ready = append(a.ready, nil)
		last++
	}
	a.ready[last] = appendAnswer(a.ready[last], p.id, p.kind, answer)
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default: // it has been told
		}
	}
}
