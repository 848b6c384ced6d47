package client

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxFlight bounds what one message carries and, as only one waits to be
	// written, the queue of a stream. Its answer stays far below a megabyte.
	maxFlight = 2048

	// A message waits for the answer to the one before, so that more checks share it, unless it
	// has enough of them, and never for longer than holdMost: that answer may wait for a node. With
	// fewer a message costs more than it carries; with more the node waits while callers gather.
	enough   = 64
	holdMost = time.Millisecond

	// When it has waited, callers that were just answered run first: many ask again at once. Each
	// time takes as long as all goroutines that are ready, so there are a few, and the last are only
	// made if the one before brought enough to be worth it.
	mostYields = 3
	worthYield = 3

	// maxBatchTimeout is the longest time-out that the API takes for a batch.
	maxBatchTimeout = 10 * time.Minute

	// glance is how often it is looked whether the context of a caller has ended before its deadline.
	glance = 5 * time.Millisecond
)

// A stream carries the checks of many callers to one node. One goroutine writes:
// it sends whatever has gathered while what was before was answered, so that a lone
// check waits for nothing and a crowd shares messages. Another reads.
type stream struct {
	node *node
	wake chan struct{} // tells the writer to look again
	held chan struct{} // tells it that it need not wait any longer for an answer

	mu       sync.Mutex // guards what follows, and flights
	holding  bool       // the writer waits for held
	over     bool       // takes no tries any more
	forming  *flight    // what is written next; nil: nothing waits
	flights  map[uint64]*flight
	sequence uint64
}

// A flight is the tries that travel in one message. It has the one timer that
// all of them need.
type flight struct {
	sequence uint64 // 0: not sent yet
	tries    []*try // in the message's order; nil: its time is over
	landed   bool   // no try waits any more
	timer    *time.Timer
	next     time.Time // when the timer fires
}

func newStream(n *node) *stream {
	return &stream{node: n, wake: make(chan struct{}, 1), held: make(chan struct{}, 1), flights: map[uint64]*flight{}}
}

// add queues t, and returns false if the stream is over. If the queue is full t
// is told, as if the node had refused it.
func (s *stream) add(t *try) bool {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false
	}
	f := s.forming
	switch {
	case f == nil:
		f = &flight{next: earlier(t.due, t.begun.Add(glance))}
		f.timer = time.AfterFunc(time.Until(f.next), func() { s.expire(f) })
		s.forming = f
	case len(f.tries) == maxFlight:
		s.mu.Unlock()
		t.tell(answer{node: s.node, err: unavailable("too many calls wait for the connection"), broken: true})
		return true
	case t.due.Before(f.next):
		f.next = t.due
		f.timer.Reset(time.Until(t.due))
	}
	f.tries = append(f.tries, t)
	first := len(f.tries) == 1
	if len(f.tries) == enough {
		s.letGoLocked()
	}
	s.mu.Unlock()
	if first {
		s.rouse()
	}
	return true
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been told
	}
}

// retire lets the stream end when all that it carries is answered.
func (s *stream) retire() {
	s.mu.Lock()
	s.over = true
	s.letGoLocked()
	s.mu.Unlock()
	s.rouse()
}

// letGoLocked ends the writer's wait for an answer. s.mu is held.
func (s *stream) letGoLocked() {
	if s.holding {
		s.holding = false
		s.held <- struct{}{}
	}
}

// run is the life of the stream.
func (s *stream) run() {
	ctx, cancel := context.WithCancel(s.node.ctx)
	defer cancel()
	wire, err := s.node.openStream(ctx)
	if err == nil {
		ended := make(chan error, 1)
		go func() { ended <- s.read(wire) }()
		s.write(wire, ended)
		err = <-ended
	}
	s.end(err)
}

// write sends flights until the stream ends. It leaves the reason in ended.
func (s *stream) write(wire grpc.ClientStream, ended chan error) {
	req := new(outgoing)
	most := time.NewTimer(time.Hour)
	defer most.Stop()
	for {
		select {
		case <-s.wake:
		case err := <-ended:
			ended <- err
			return
		}
		runtime.Gosched() // callers that are about to ask come along
		if s.hold() {
			most.Reset(holdMost)
			select {
			case <-s.held:
			case <-most.C:
			case err := <-ended:
				ended <- err
				return
			}
			s.release()
			s.gather()
		}
		last := s.board(req)
		if len(req.checks) > 0 && wire.SendMsg(req) != nil {
			return // the reader is told why
		}
		clear(req.checks)
		if last {
			_ = wire.CloseSend()
			return
		}
	}
}

// hold reports whether the next message is to wait for the answer to the one before.
func (s *stream) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = s.flights[s.sequence] != nil && s.forming != nil && len(s.forming.tries) < enough && !s.over
	return s.holding
}

// release ends the wait, whatever ended it.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = false
	select {
	case <-s.held:
	default:
	}
}

// gather lets callers that are about to ask come along.
func (s *stream) gather() {
	for before, n := -worthYield, 0; n < mostYields; n++ {
		s.mu.Lock()
		waiting := 0
		if s.forming != nil {
			waiting = len(s.forming.tries)
		}
		s.mu.Unlock()
		if waiting < before+worthYield || waiting >= enough {
			return
		}
		before = waiting
		runtime.Gosched()
	}
}

// board makes req the next message, without checks if nothing waits, and reports
// whether it is the last.
func (s *stream) board(req *outgoing) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.forming
	s.forming = nil
	req.checks = req.checks[:0]
	if f == nil {
		return s.over
	}
	var deadline time.Time
	tries := f.tries[:0]
	for _, t := range f.tries {
		if t == nil {
			continue
		}
		tries = append(tries, t)
		req.checks = append(req.checks, t.question.check)
		if t.deadline.After(deadline) {
			deadline = t.deadline
		}
	}
	f.tries = tries
	s.sequence++
	f.sequence = s.sequence
	s.flights[f.sequence] = f
	req.sequence = f.sequence
	req.timeoutMs = uint32(min(max(time.Until(deadline), time.Millisecond), maxBatchTimeout).Milliseconds())
	return s.over
}

// read hands out answers until the stream ends, and returns why it did.
func (s *stream) read(wire grpc.ClientStream) error {
	res := new(incoming)
	for {
		if err := wire.RecvMsg(res); err != nil {
			return err
		}
		s.node.hasAnswered(time.Now())
		s.mu.Lock()
		f := s.flights[res.sequence]
		if f == nil { // nobody waits any more
			s.mu.Unlock()
			continue
		}
		delete(s.flights, res.sequence)
		f.landed = true
		f.timer.Stop()
		if res.sequence == s.sequence {
			s.letGoLocked()
		}
		s.mu.Unlock()

		whole := len(res.results) == len(f.tries)
		for i, t := range f.tries {
			switch {
			case t == nil:
			case whole:
				res.results[i].tell(t, s.node)
			default:
				t.tell(answer{node: s.node, err: errNoAnswer("CheckStream")})
			}
		}
	}
}

// expire tells the tries of f whose time has come or whose caller has gone away, and forgets
// those that nobody waits for any more.
func (s *stream) expire(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.landed {
		return
	}
	now := time.Now()
	f.next = now.Add(glance)
	waits := false
	for i, t := range f.tries {
		if t == nil {
			continue
		}
		if !t.silent && !now.Before(t.due) && !t.extend(s.node, now) {
			t.silent = true
			t.miss(s.node, now)
		}
		next := t.due
		if t.silent {
			next = t.deadline
		}
		switch {
		case !now.Before(next):
			f.tries[i] = nil
		case t.question.ctx.Err() != nil:
			t.tell(answer{})
			f.tries[i] = nil
		default:
			waits = true
			f.next = earlier(f.next, next)
		}
	}
	if waits {
		f.timer.Reset(f.next.Sub(now))
		return
	}
	f.landed = true
	if s.forming == f {
		s.forming = nil
	}
	delete(s.flights, f.sequence)
}

// end tells all that wait that the stream is over, for the reason err.
func (s *stream) end(err error) {
	s.mu.Lock()
	s.over = true
	unsent := s.forming
	flights := s.flights
	s.forming, s.flights = nil, nil
	if unsent != nil {
		unsent.landed = true
		unsent.timer.Stop()
	}
	for _, f := range flights {
		f.landed = true
		f.timer.Stop()
	}
	s.mu.Unlock()

	message := "the node ended the stream"
	if err != nil && !errors.Is(err, io.EOF) {
		message = status.Convert(err).Message()
	}
	a := answer{node: s.node, err: unavailable(message), broken: true}
	switch code := status.Code(err); {
	case code == codes.Unimplemented:
		s.node.noStream.Store(true)
		a.alone = true
	case err != nil && !undecided(code):
		// Perhaps one caller is at fault, or none may use the node: each finds out
		// by a call of its own.
		a.alone = true
	}
	if unsent != nil {
		unsent.tell(a)
	}
	a.err = unavailable(message)
	a.err.sent = true
	for _, f := range flights {
		f.tell(a)
	}
}

func (f *flight) tell(a answer) {
	for _, t := range f.tries {
		if t != nil {
			t.tell(a)
		}
	}
}
