package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter/contract"
)

// How long one try is waited for if another node can be asked: a third of the
// time left, within these bounds. It costs a caller that much, and no more, that a
// node has stopped. One that answers others meanwhile has not: as a second try may be
// counted twice, it has the longer time.
const (
	leastTry = 40 * time.Millisecond
	mostTry  = 500 * time.Millisecond
)

// The pause after a node could not decide, doubled after each and shortened by up
// to a half at random.
const (
	leastPause = 2 * time.Millisecond
	mostPause  = 100 * time.Millisecond
)

// A question is one call on its way to an answer, by as many tries as it takes.
// The caller's goroutine sees it through, and alone touches it, but for answers.
//
//	try ── answer ─────────────────────────────▶ returned
//	  ├── broken ─ another node, at once ──▶ try   (none is left: after a pause)
//	  ├── UNAVAILABLE ─ a short pause ─────▶ try   at another node if there is one
//	  └── no answer when due ─ another node ▶ try   and the first answer wins
type question struct {
	client    *Client
	ctx       context.Context
	deadline  time.Time
	partition int // of its key, or anywhere

	// What is asked: check, by a stream if alone is not set, or call.
	check CheckRequest // its Cost is cost, as the caller may change his own when the call is over
	cost  uint32
	alone bool
	call  func(context.Context, *node) (any, *Error) // nil: it is a check

	once bool          // no node is asked twice
	work time.Duration // that it is for a node, beyond what every call is

	// answers has room for what the first try may tell. Later ones may find it
	// full and are then not heard; the question's own timer sees to its end.
	answers chan *answer
	first   try
	done    bool // nobody but the caller knows of the question any more

	owing  []*node       // asked, and not heard of since
	failed []*node       // could not decide, and are not asked again before a pause
	rest   time.Time     // no try before
	pause  time.Duration // the last one
	rested bool          // there was one since the last try that failed

	wire   context.Context // of tries that are calls of their own; nil: there were none
	cancel context.CancelFunc
	last   *Error // why the last try that failed did
	sent   bool   // a server may have seen it
}

// A try is a question put to one node.
type try struct {
	question   *question
	begun, due time.Time
	deadline   time.Time
	silent     bool   // it was told that it is due; due and silent are guarded by a stream's mu
	answer     answer // a decision that came by a stream, which nothing comes after
}

// An answer is what a try is told. With no decision, res or err: the node is silent
// when the try is due, which does not end the try; without a node too, nothing but that
// there is reason to look at the time and at ctx.
type answer struct {
	node     *node
	decision Decision // of a check, if it is decided
	res      any      // what call returned
	err      *Error
	broken   bool // err is not the node's word: the connection failed
	alone    bool // ask the node again without a stream
}

func (a *answer) silent() bool { return a.err == nil && a.res == nil && !a.decision.Decided() }

// roomForAnswers is above what one try may tell.
const roomForAnswers = 4

// anywhere is the partition of what has no key, or when partitions are not known.
const anywhere = -1

// tell passes a on to the caller, if it still listens.
func (t *try) tell(a answer) { t.pass(&a) }

func (t *try) pass(a *answer) {
	select {
	case t.question.answers <- a:
	default:
	}
}

// land tells the caller what n decided.
func (t *try) land(n *node, d *Decision) {
	t.answer.node, t.answer.decision = n, *d // in the question's own memory: there is nothing to allocate
	t.pass(&t.answer)
}

// most is how long a node is waited for that answers others.
func (t *try) most() time.Time { return earlier(t.begun.Add(mostTry+t.question.work), t.deadline) }

// extend gives n more time if it answers others, and has not had that yet. It returns
// whether it did.
func (t *try) extend(n *node, now time.Time) bool {
	most := t.most()
	if !now.Before(most) || !t.due.Before(most) || !n.answeredSince(t.begun) {
		return false
	}
	t.due = most
	return true
}

// miss tells the caller that n is silent, and n, unless it answered others or had hardly time.
func (t *try) miss(n *node, now time.Time) {
	if now.Sub(t.begun) >= leastTry && !n.answeredSince(t.begun) {
		n.missed(now)
	}
	t.tell(answer{node: n})
}

// ask returns the answer, or an error.
func (q *question) ask(now time.Time) (*answer, *Error) {
	if q.ctx.Err() != nil || !now.Before(q.deadline) {
		return nil, q.unanswered()
	}
	if !q.try(now) {
		return nil, errClosed()
	}
	if q.wire != nil {
		return q.persist(nil)
	}
	// A try by a stream is told whatever happens, also that ctx has ended: to watch for that
	// here would cost each call about as much as its answer.
	a := <-q.answers
	if a.err != nil || a.silent() {
		return q.persist(a)
	}
	q.done = true
	return a, nil
}

// hear waits for what the first try is told that is a call of its own.
func (q *question) hear() *answer {
	select {
	case a := <-q.answers:
		return a
	case <-q.ctx.Done():
		return new(answer)
	}
}

// persist goes on after what a first try was told, unless that is the answer already. nil: it is
// yet to be heard.
func (q *question) persist(a *answer) (*answer, *Error) {
	defer func() {
		if q.cancel != nil {
			q.cancel()
		}
	}()
	if a == nil {
		a = q.hear()
	}
	if a.err == nil && !a.silent() {
		return a, nil
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		if a.node != nil && !a.silent() {
			if q.final(a) {
				return a, a.err
			}
			q.note(a, now)
		}
		switch {
		case q.client.over.Load():
			return nil, errClosed()
		case q.ctx.Err() != nil || !now.Before(q.deadline):
			return nil, q.unanswered()
		}
		if !now.Before(q.rest) && !q.try(now) && len(q.failed) > 0 {
			if !q.once {
				q.again(now)
			} else if len(q.owing) == 0 {
				return nil, q.last
			}
		}
		until := q.deadline
		if now.Before(q.rest) && q.rest.Before(until) {
			until = q.rest
		}
		timer.Reset(time.Until(until))
		select {
		case a = <-q.answers:
		case <-timer.C:
			a = new(answer)
		case <-q.ctx.Done():
			return nil, q.unanswered()
		}
	}
}

// final reports whether nothing but a comes of the question.
func (q *question) final(a *answer) bool {
	if a.broken || couldNotDecide(a) {
		return false
	}
	q.answered(a.node)
	if a.err != nil {
		a.err.sent = a.err.sent || q.maySent()
	}
	return true
}

// note takes note of an answer that is not final.
func (q *question) note(a *answer, now time.Time) {
	q.answered(a.node)
	q.last = a.err
	q.sent = q.sent || q.last.sent || !a.broken
	switch {
	case a.alone:
		q.alone = true
	case a.broken || q.once:
		q.failed = append(q.failed, a.node)
		q.rested = false
	default:
		q.failed = append(q.failed, a.node)
		q.restFrom(now)
	}
}

// answered notes that n owes no answer any more.
func (q *question) answered(n *node) {
	q.owing = slices.DeleteFunc(q.owing, func(o *node) bool { return o == n })
}

// maySent reports whether a server may have seen the question.
func (q *question) maySent() bool { return q.sent || len(q.owing) > 0 }

// again lets the nodes that failed be asked again, after a pause.
func (q *question) again(now time.Time) {
	q.failed = q.failed[:0]
	if !q.rested {
		q.restFrom(now)
		return
	}
	q.rested = false
	q.try(now)
}

// restFrom lets the next try wait: whoever could not decide is given time.
func (q *question) restFrom(now time.Time) {
	q.pause = min(max(2*q.pause, leastPause), mostPause)
	pause := time.Duration(float64(q.pause) * (0.5 + 0.5*rand.Float64()))
	if q.last != nil && q.last.RetryAfter > 0 {
		pause = min(pause, q.last.RetryAfter)
	}
	q.rest, q.rested = now.Add(pause), true
}

// couldNotDecide reports whether a says that asking again may help.
func couldNotDecide(a *answer) bool {
	return a.err != nil && a.err.GRPC == codes.Unavailable
}

// try asks the best node that is neither owing nor failed, and returns false if
// there is none.
func (q *question) try(now time.Time) bool {
	top := q.client.topology.Load()
	n := top.pick(q, now)
	if n == nil {
		return false
	}
	due := q.deadline
	switch left := q.deadline.Sub(now); {
	case top.another(q, n):
		due = now.Add(min(left, max(left/3, leastTry+q.work), mostTry+q.work))
	case top.avoided(q, n): // that one may be well again by then
		due = now.Add(min(left, mostTry+q.work))
	}
	t := &q.first
	if t.question != nil {
		t = new(try)
	}
	t.question, t.begun, t.due, t.deadline = q, now, due, q.deadline
	q.owing = append(q.owing, n)
	if q.call == nil && !q.alone && !n.noStream.Load() {
		n.enqueue(t, top.streams())
		return true
	}
	if q.wire == nil {
		q.wire, q.cancel = context.WithDeadline(q.ctx, q.deadline)
	}
	go q.askAlone(n, t)
	return true
}

// excludes reports whether n is not to be asked now.
func (q *question) excludes(n *node) bool {
	return slices.Contains(q.owing, n) || slices.Contains(q.failed, n)
}

// watch misses n when the try is due, or later if it answers others, until end is called.
func (t *try) watch(n *node) (end func()) {
	var missed sync.Once
	miss := func() { missed.Do(func() { t.miss(n, time.Now()) }) }
	due := time.AfterFunc(time.Until(t.due), func() {
		if !n.answeredSince(t.begun) {
			miss()
		}
	})
	most := time.AfterFunc(time.Until(t.most()), miss)
	return func() {
		due.Stop()
		most.Stop()
	}
}

// askAlone makes a try that is a call of its own.
func (q *question) askAlone(n *node, t *try) {
	if t.due.Before(t.deadline) {
		defer t.watch(n)()
	}
	a := answer{node: n}
	if q.call != nil {
		a.res, a.err = q.call(q.wire, n)
	} else {
		a.decision, a.err = checkAlone(q.wire, n, q.check)
	}
	switch {
	case a.err == nil || !undecided(a.err.GRPC):
		n.hasAnswered(time.Now())
	case a.err.GRPC == codes.DeadlineExceeded && !t.due.Before(t.deadline):
		if now := time.Now(); now.Sub(t.begun) >= leastTry {
			n.missed(now)
		}
	}
	if a.err != nil {
		a.res = nil // of what call returned, nothing but the error counts
		a.broken = a.err.GRPC == codes.Unavailable && !a.err.sent
	}
	t.tell(a)
}

// unanswered is the error of a question whose time is over.
func (q *question) unanswered() *Error {
	cause := q.ctx.Err()
	if q.last != nil && !errors.Is(cause, context.Canceled) {
		e := *q.last
		e.sent = q.maySent()
		return &e
	}
	e := &Error{
		Code: contract.ServiceUnavailable, GRPC: codes.DeadlineExceeded, Message: "no answer in time",
		RequestID: RequestID(q.ctx), cause: context.DeadlineExceeded, sent: q.maySent(),
	}
	if errors.Is(cause, context.Canceled) {
		e.GRPC, e.Message, e.cause = codes.Canceled, "the caller canceled the call", cause
	}
	return e
}

// unavailable is the error of a try that failed on this side of the connection.
func unavailable(message string) *Error {
	return &Error{Code: contract.ServiceUnavailable, GRPC: codes.Unavailable, Message: message}
}

func errClosed() *Error {
	return &Error{Code: contract.ServiceUnavailable, GRPC: codes.Canceled, Message: "the client is closed", cause: ErrClosed}
}
