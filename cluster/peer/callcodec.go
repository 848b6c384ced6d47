package peer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// asked is a Call on the wire.
type asked struct {
	id        uint64
	remaining time.Duration // until the deadline, from the stamp of the message; more than 0
	Call                    // without Deadline
}

// questions is a ForwardRequest. For writing, its calls are encoded already.
type questions struct {
	hello *peerv1.Hello
	stamp limiter.Instant
	wire  []byte // when written: the calls
	calls []asked
}

func (q *questions) encodeWire() []byte {
	b := appendHello(make([]byte, 0, len(q.wire)+16), q.hello)
	b = appendUint(b, 2, uint64(q.stamp))
	return append(b, q.wire...)
}

func (q *questions) parseWire(b []byte) error {
	*q = questions{}
	n := 0
	if err := fields(b, func(num protowire.Number, _ uint64, _ []byte) error {
		if num == 3 {
			n++
		}
		return nil
	}); err != nil {
		return err
	}
	if n > maxAwaited {
		return errCalls
	}
	q.calls = make([]asked, 0, min(n, len(b)/leastCall))
	var tier string // mostly the same as of the call before
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) (err error) {
		switch {
		case num == 2:
			q.stamp = limiter.Instant(value)
		case bytes == nil:
		case num == 1:
			q.hello, err = parseHello(bytes)
		case num == 3:
			q.calls = append(q.calls, asked{})
			c := &q.calls[len(q.calls)-1]
			c.Tier = tier
			err = c.parse(bytes)
			tier = c.Tier
		}
		return err
	})
}

// callBytes returns no less than what c takes on the wire.
func callBytes(c *Call) int {
	return 160 + len(c.Tier) + len(c.RunID) + len(c.TaskID) + len(c.RequestID)
}

// leastCall is no more than what a call of ours takes on the wire: of a message that anybody may send,
// before it has said who it is, room is made for no more calls than it can hold.
const leastCall = 24

// A node asks no more before it has answers.
var (
	errCalls   = fmt.Errorf("calls: are more than %d", maxAwaited)
	errAnswers = fmt.Errorf("answers: are more than %d", maxAwaited)
)

// maxCall is the longest call that is forwarded, far above what any of ours takes.
const maxCall = 64 << 10

// appendCall appends c as a field of a ForwardRequest.
func appendCall(b []byte, id uint64, c *Call, remaining time.Duration) []byte {
	return appendMessage(b, 3, func(b []byte) []byte {
		key := c.Key
		if c.Kind == Renew || c.Kind == Release {
			key = c.Ref.Key
		}
		b = appendUint(b, 1, id)
		b = appendUint(b, 2, uint64(c.Kind))
		b = appendUint(b, 3, uint64(key.Partition))
		hi, lo := key.ID.Words()
		b = appendFixed(appendFixed(b, 4, hi), 5, lo)
		b = appendString(b, 6, c.Tier)
		if c.HasCost || c.Kind == Check {
			b = protowire.AppendVarint(protowire.AppendTag(b, 7, protowire.VarintType), uint64(c.Cost))
		}
		b = appendBool(b, 8, c.Explain)
		b = appendUint(b, 9, uint64(min(max(c.Hops, 0), math.MaxUint8)))
		b = appendUint(b, 10, uint64(max(remaining, time.Microsecond)/time.Microsecond))
		if c.Trace != nil {
			b = protowire.AppendBytes(protowire.AppendTag(b, 19, protowire.BytesType), c.Trace[:])
		}
		if c.Kind == Check {
			return b
		}
		run, nonce := c.Run, c.Nonce
		if c.Kind == Renew || c.Kind == Release {
			run, nonce = c.Ref.Run, c.Ref.Nonce
		}
		hi, lo = run.Words()
		b = appendFixed(appendFixed(b, 11, hi), 12, lo)
		b = appendFixed(b, 13, nonce)
		b = appendString(b, 14, c.RunID)
		b = appendString(b, 15, c.TaskID)
		b = appendString(b, 16, c.RequestID)
		b = appendUint(b, 17, nanos(c.TTL))
		return appendFixed(b, 18, c.Ref.Tier)
	})
}

var (
	errCallKind  = errors.New("calls.kind: is not known")
	errCallRange = errors.New("calls: a number is out of range")
)

// parse sets c from b. Its Tier is a guess of what it will have.
func (c *asked) parse(b []byte) error {
	guess := c.Tier
	c.Tier = ""
	var identity, run [2]uint64
	var kind, partition, cost, hops, remaining, ttl, leaseTier uint64
	err := fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch num {
		case 1:
			c.id = value
		case 2:
			kind = value
		case 3:
			partition = value
		case 4, 5:
			identity[num-4] = value
		case 6:
			if c.Tier = guess; string(bytes) != guess {
				c.Tier = string(bytes)
			}
		case 7:
			cost, c.HasCost = value, true
		case 8:
			c.Explain = value != 0
		case 9:
			hops = value
		case 10:
			remaining = value
		case 11, 12:
			run[num-11] = value
		case 13:
			c.Nonce = value
		case 14:
			c.RunID = string(bytes)
		case 15:
			c.TaskID = string(bytes)
		case 16:
			c.RequestID = string(bytes)
		case 17:
			ttl = value
		case 18:
			leaseTier = value
		case 19:
			c.Trace = traceOf(bytes)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case kind < uint64(Check) || kind > uint64(Release):
		return errCallKind
	case partition > math.MaxUint16 || cost > math.MaxUint32 || hops > math.MaxUint8 || ttl > math.MaxInt64:
		return errCallRange
	}
	c.Kind, c.Cost, c.Hops, c.TTL = Kind(kind), uint32(cost), int(hops), time.Duration(ttl)
	c.remaining = time.Duration(min(remaining, maxRemaining)) * time.Microsecond
	c.Key = limiter.Key{Partition: limiter.PartitionID(partition), ID: limiter.IdentityOf(identity[0], identity[1])}
	c.Run = limiter.RunHashOf(run[0], run[1])
	if c.Kind == Renew || c.Kind == Release {
		c.Ref = limiter.LeaseRef{Key: c.Key, Tier: leaseTier, Run: c.Run, Nonce: c.Nonce}
		c.Key, c.Run, c.Nonce = limiter.Key{}, limiter.RunHash{}, 0
	}
	return nil
}

// traceOf returns the trace that b names, nil if it names none.
func traceOf(b []byte) *Trace {
	if len(b) != len(Trace{}) {
		return nil
	}
	t := Trace(b)
	return &t
}

// maxRemaining bounds how far ahead a deadline may be, in microseconds: an hour.
const maxRemaining = 3_600_000_000

// answered is an Answer on the wire.
type answered struct {
	id uint64
	Answer
}

// answers is a ForwardResponse. For writing, answers are encoded already. What was read is
// overwritten when it is read into again.
type answers struct {
	hello   *peerv1.Hello
	wire    []byte // when written: the answers
	answers []answered
}

func (a *answers) encodeWire() []byte {
	if a.hello == nil {
		return a.wire
	}
	return append(appendHello(nil, a.hello), a.wire...)
}

func (a *answers) parseWire(b []byte) error {
	clear(a.answers)
	*a = answers{answers: a.answers[:0]}
	return fields(b, func(num protowire.Number, _ uint64, bytes []byte) (err error) {
		switch {
		case bytes == nil:
		case num == 1:
			a.hello, err = parseHello(bytes)
		case num == 2 && len(a.answers) == maxAwaited:
			err = errAnswers
		case num == 2:
			a.answers = append(a.answers, answered{})
			err = a.answers[len(a.answers)-1].parse(bytes)
		}
		return err
	})
}

// appendAnswer appends a, the answer to a call of that kind, as a field of a ForwardResponse.
func appendAnswer(b []byte, id uint64, kind Kind, a *Answer) []byte {
	return appendMessage(b, 2, func(b []byte) []byte {
		b = appendUint(b, 1, id)
		outcome := a.outcome()
		b = appendUint(b, 2, uint64(outcome))
		switch outcome {
		case peerv1.Outcome_OUTCOME_UNDECIDED:
			return appendString(b, 8, short(a.Holder))
		case peerv1.Outcome_OUTCOME_FAILED:
			return appendString(b, 9, short(a.Err.Error()))
		case peerv1.Outcome_OUTCOME_DECIDED:
		default:
			return b
		}
		switch kind {
		case Check:
			b = appendDecision(b, 3, &a.Decision)
			for i := range a.Windows {
				b = appendWindow(b, 4, &a.Windows[i])
			}
		case Acquire:
			b = appendGrant(b, 5, &a.Grant)
		case Renew:
			b = appendUint(b, 6, nanos(a.Left))
		case Release:
			b = appendBool(b, 7, a.Released)
		}
		return b
	})
}

// short bounds what is said in words.
func short(s string) string { return s[:min(len(s), 1024)] }

func (a *Answer) outcome() peerv1.Outcome {
	switch {
	case a.Unknown:
		return peerv1.Outcome_OUTCOME_UNKNOWN
	case a.Undecided, errors.Is(a.Err, limiter.ErrUndecided):
		return peerv1.Outcome_OUTCOME_UNDECIDED
	case a.Err == nil:
		return peerv1.Outcome_OUTCOME_DECIDED
	case errors.Is(a.Err, limiter.ErrConflict):
		return peerv1.Outcome_OUTCOME_CONFLICT
	case errors.Is(a.Err, limiter.ErrGone):
		return peerv1.Outcome_OUTCOME_GONE
	}
	return peerv1.Outcome_OUTCOME_FAILED
}

func (a *answered) parse(b []byte) error {
	var outcome peerv1.Outcome
	var failure string
	err := fields(b, func(num protowire.Number, value uint64, bytes []byte) (err error) {
		switch num {
		case 1:
			a.id = value
		case 2:
			outcome = peerv1.Outcome(min(value, math.MaxInt32))
		case 3:
			err = parseDecision(bytes, &a.Decision)
		case 4:
			a.Windows = append(a.Windows, limiter.WindowState{})
			err = parseWindow(bytes, &a.Windows[len(a.Windows)-1])
		case 5:
			err = parseGrant(bytes, &a.Grant)
		case 6:
			a.Left = duration(value)
		case 7:
			a.Released = value != 0
		case 8:
			a.Holder = string(bytes)
		case 9:
			failure = string(bytes)
		}
		return err
	})
	switch outcome {
	case peerv1.Outcome_OUTCOME_DECIDED:
	case peerv1.Outcome_OUTCOME_UNDECIDED:
		a.Undecided = true
	case peerv1.Outcome_OUTCOME_CONFLICT:
		a.Err = limiter.ErrConflict
	case peerv1.Outcome_OUTCOME_GONE:
		a.Err = limiter.ErrGone
	case peerv1.Outcome_OUTCOME_FAILED:
		a.Err = errors.New(failure)
	default: // one that a later version has
		a.Unknown = true
	}
	return err
}
