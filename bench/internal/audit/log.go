package audit

import (
	"math"
	"sync"
	"time"
)

// An Outcome is what a try or a call was told.
type Outcome uint8

// The outcomes. Unanswered is of tries only.
const (
	Unanswered Outcome = iota // no answer came: it may have been counted
	Allowed
	Denied
	Failed // an error came: it may have been counted all the same, by a node behind
)

// Never is when an answer came that did not.
const Never = time.Duration(math.MaxInt64)

// A Try is one request that left a gateway. Its times are of the log's clock.
type Try struct {
	Key      int    // from 0
	Node     string // that it was sent to
	Units    uint32
	Sent     time.Duration
	Answered time.Duration // Never if it was not
	Outcome  Outcome
	Degraded bool // the answer says that it was made without the history
}

// A Call is what a gateway wanted and what it got, with however many tries.
type Call struct {
	Key     int // from 0
	Group   int // of gateways; the log does not care
	Units   uint32
	Began   time.Duration
	Ended   time.Duration
	Outcome Outcome
	Err     error // if it failed
	Cached  bool  // the gateway repeated an earlier denial, and sent nothing
}

// A Log is what happened, as the gateways saw it. Its methods may be called from many
// goroutines.
type Log struct {
	start time.Time

	mu    sync.Mutex // guards what follows
	tries []Try
	calls []Call
}

// NewLog returns an empty log whose clock begins now.
func NewLog() *Log { return &Log{start: time.Now()} }

// Now is the time of the log's clock.
func (l *Log) Now() time.Duration { return time.Since(l.start) }

// Send notes that a try is about to leave, and returns its number.
func (l *Log) Send(key int, node string, units uint32) (number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries = append(l.tries, Try{Key: key, Node: node, Units: units, Sent: l.Now(), Answered: Never})
	return len(l.tries) - 1
}

// Answer notes that the answer to a try has come.
func (l *Log) Answer(number int, outcome Outcome, degraded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tries[number]
	t.Answered, t.Outcome, t.Degraded = l.Now(), outcome, degraded
}

// Call notes a call that has ended.
func (l *Log) Call(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// Tries returns what was sent, in that order. The log must be at rest.
func (l *Log) Tries() []Try { return l.tries }

// Calls returns the calls that have ended, in that order. The log must be at rest.
func (l *Log) Calls() []Call { return l.calls }
