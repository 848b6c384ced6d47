package peer

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// Bounds of the calls to one node.
const (
	maxQueued    = 16_384    // that wait to be written
	maxAwaited   = 65_536    // that wait for their answer
	maxBoarding  = 4096      // that share a message
	messageBytes = 512 << 10 // of one message, about
	sweepEvery   = 5 * time.Millisecond
)

// A caller asks one node. What is asked at the same time shares messages: the writer sends
// what has gathered while it wrote what was before, and a lone call waits for nothing.
//
// A call is told exactly once: by its answer, by the sweep when its deadline has passed, or
// when the stream ends; whoever takes it out of queue or awaited tells it.
type caller struct {
	node *node
	wake chan struct{} // tells the writer to look

	mu        sync.Mutex // guards what follows
	connected bool
	queue     []question
	awaited   []question // by place; done is nil where there is none
	free      []uint32   // places in awaited
	sweeper   *time.Timer
	sweepAt   limiter.Instant // when the sweeper runs; 0: not at all
}

// question is a call that was not told yet.
type question struct {
	ctx  context.Context
	call *Call
	i    int // of the call, for done
	done func(i int, a Answer)
	id   uint64 // its place in awaited, and above that how often that was taken; 0: none yet
}

func (q *question) tell(a Answer) { q.done(q.i, a) }

func newCaller(n *node) *caller { return &caller{node: n, wake: make(chan struct{}, 1)} }

// ask queues calls. Those that there is no room for, or no connection, are told at once.
func (c *caller) ask(ctx context.Context, calls []*Call, done func(i int, a Answer)) {
	now := c.node.t.Clock()
	var refused []int
	c.mu.Lock()
	first := len(c.queue) == 0
	for i, call := range calls {
		if !c.connected || len(c.queue) >= maxQueued || call.Deadline <= now || callBytes(call) > maxCall {
			refused = append(refused, i)
			continue
		}
		c.queue = append(c.queue, question{ctx: ctx, call: call, i: i, done: done})
		c.sweepByLocked(call.Deadline, now)
	}
	first = first && len(c.queue) > 0
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default: // it has been told
		}
	}
	for _, i := range refused {
		done(i, Answer{Undecided: true})
	}
}

// calls lets the caller ask on a stream until that ends.
func (l *lane) calls(ctx context.Context, conn *grpc.ClientConn, client peerv1.PeerServiceClient, greeted greeting) error {
	n := l.node
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Forward(ctx)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&questions{hello: n.t.hello(n.name), stamp: n.t.Clock()}); err != nil && !errors.Is(err, io.EOF) {
		return err // else RecvMsg says why
	}
	res := new(answers)
	if err := stream.RecvMsg(res); err != nil {
		return err
	}
	boot, w, err := greeted(res.hello)
	if err != nil {
		return err
	}
	defer n.end(boot)
	defer w.stop()
	n.dialled(conn)
	defer n.dialled(nil)
	c := n.caller
	c.connect()
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		c.write(ctx, stream)
	}()
	err = c.read(stream, w, res)
	cancel()
	<-writing
	c.disconnect()
	return err
}

// dialled sets the connection for what is asked one by one.
func (n *node) dialled(conn *grpc.ClientConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conn = conn
}

func (c *caller) connect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = true
}

// disconnect tells all calls what became of them when the stream ended.
func (c *caller) disconnect() {
	c.mu.Lock()
	c.connected = false
	queue, awaited := c.queue, c.awaited
	c.queue, c.awaited, c.free = nil, nil, nil
	if c.sweeper != nil {
		c.sweeper.Stop()
	}
	c.sweepAt = 0
	c.mu.Unlock()
	for i := range queue {
		queue[i].tell(Answer{Undecided: true})
	}
	for i := range awaited {
		if awaited[i].done != nil {
			awaited[i].tell(Answer{Unknown: true})
		}
	}
}

// write sends calls until the stream ends.
func (c *caller) write(ctx context.Context, stream grpc.ClientStream) {
	var batch []question
	m := new(questions)
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // callers that are about to ask come along
		for {
			batch = c.board(batch[:0])
			if len(batch) == 0 {
				break
			}
			c.encode(m, batch)
			clear(batch)
			if len(m.wire) > 0 && stream.SendMsg(m) != nil {
				return // the reader is told why
			}
		}
	}
}

// board takes calls out of the queue, as many as share a message.
func (c *caller) board(batch []question) []question {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.queue) && n < maxBoarding && bytes < messageBytes {
		bytes += callBytes(c.queue[n].call)
		n++
	}
	batch = append(batch, c.queue[:n]...)
	left := copy(c.queue, c.queue[n:])
	clear(c.queue[left:])
	c.queue = c.queue[:left]
	return batch
}

// encode makes m a message of batch, an empty one if nothing is to be asked any more. From now
// on the calls in it are awaited; the others are told.
func (c *caller) encode(m *questions, batch []question) {
	now := c.node.t.Clock()
	c.mu.Lock()
	for i := range batch {
		q := &batch[i]
		if q.call.Deadline > now && q.ctx.Err() == nil {
			q.id = c.placeLocked()
		}
	}
	c.mu.Unlock()

	// The calls are not in awaited yet: nobody but us tells them while we read them.
	m.stamp, m.wire = now, m.wire[:0]
	for i := range batch {
		if q := &batch[i]; q.id != 0 {
			m.wire = appendCall(m.wire, q.id, q.call, q.call.Deadline.Sub(now))
		}
	}

	c.mu.Lock()
	for i := range batch {
		if q := &batch[i]; q.id != 0 {
			c.awaited[uint32(q.id)] = *q
			c.sweepByLocked(q.call.Deadline, now)
		}
	}
	c.mu.Unlock()
	for i := range batch {
		if q := &batch[i]; q.id == 0 {
			q.tell(Answer{Undecided: true})
		}
	}
}

// placeLocked takes a place in awaited and returns the id that names it; 0: there is none.
func (c *caller) placeLocked() uint64 {
	var at uint32
	switch {
	case len(c.free) > 0:
		at = c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
	case len(c.awaited) < maxAwaited:
		at = uint32(len(c.awaited))
		c.awaited = append(c.awaited, question{id: uint64(at)})
	default:
		return 0
	}
	return c.awaited[at].id + 1<<32 // the place in its lower half, and how often it was taken
}

func (c *caller) freeLocked(at uint32) {
	c.awaited[at] = question{id: c.awaited[at].id}
	c.free = append(c.free, at)
}

// read tells answers until the stream ends.
func (c *caller) read(stream grpc.ClientStream, w *watch, res *answers) error {
	var told []question
	for {
		w.waiting(true)
		err := stream.RecvMsg(res)
		w.waiting(false)
		if err != nil {
			return err
		}
		told = c.match(told[:0], res.answers)
		for i := range told {
			if told[i].done != nil {
				told[i].tell(res.answers[i].Answer)
			}
		}
		clear(told)
	}
}

// match takes what is answered out of awaited. Of calls that were told before it takes
// nothing.
func (c *caller) match(told []question, res []answered) []question {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range res {
		at := uint32(res[i].id)
		if int64(at) >= int64(len(c.awaited)) || c.awaited[at].id != res[i].id || c.awaited[at].done == nil {
			told = append(told, question{})
			continue
		}
		told = append(told, c.awaited[at])
		c.freeLocked(at)
	}
	return told
}

// sweepByLocked sees to it that the sweeper runs soon after a deadline.
func (c *caller) sweepByLocked(deadline, now limiter.Instant) {
	at := max(deadline, now.Add(sweepEvery))
	if c.sweepAt != 0 && c.sweepAt <= at {
		return
	}
	c.sweepAt = at
	if c.sweeper == nil {
		c.sweeper = time.AfterFunc(at.Sub(now), c.sweep)
		return
	}
	c.sweeper.Reset(at.Sub(now))
}

// sweep tells calls whose deadline has passed.
func (c *caller) sweep() {
	now := c.node.t.Clock()
	var unasked, unanswered []question
	var next limiter.Instant
	look := func(q *question) (late bool) {
		if q.call.Deadline <= now {
			return true
		}
		if next == 0 || q.call.Deadline < next {
			next = q.call.Deadline
		}
		return false
	}
	c.mu.Lock()
	keep := c.queue[:0]
	for _, q := range c.queue {
		if look(&q) {
			unasked = append(unasked, q)
		} else {
			keep = append(keep, q)
		}
	}
	clear(c.queue[len(keep):])
	c.queue = keep
	for at := range c.awaited {
		if q := &c.awaited[at]; q.done != nil && look(q) {
			unanswered = append(unanswered, *q)
			c.freeLocked(uint32(at))
		}
	}
	c.sweepAt = 0
	if next != 0 {
		c.sweepByLocked(next, now)
	}
	c.mu.Unlock()
	for i := range unasked {
		unasked[i].tell(Answer{Undecided: true})
	}
	for i := range unanswered {
		unanswered[i].tell(Answer{Unknown: true})
	}
}
