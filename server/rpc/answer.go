package rpc

import (
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
)

// Answers to checks are written here and not by protobuf, which would need its messages made
// first, each with several pieces of memory. What is written is the same: the tests compare.

// Most answers and results have a length of one byte: resultBytes bounds those of decisions
// without windows.
const resultBytes = 48

// A batchAnswer is the answer to a batch while it is written: its results, one after the
// other, and the places of those that other nodes decide.
type batchAnswer struct {
	number protowire.Number // of the field that results are
	b      []byte
	head   int   // bytes before the first result
	gaps   []int // where in b results belong that are not there yet, in order

	to      *fairConn // what its memory is counted for, if it is long; nil: nothing
	counted int
}

// newBatchAnswer returns the answer of which head is what comes before its n results. It goes to a
// client by to, which may be nil. In the end buffer is called, or drop.
func newBatchAnswer(number protowire.Number, head []byte, n int, to *fairConn) *batchAnswer {
	a := &batchAnswer{number: number, b: append(memory(len(head)+n*resultBytes), head...), head: len(head)}
	if to != nil && cap(a.b) >= longAnswer {
		a.to = to
		a.recount()
	}
	return a
}

// recount counts the memory that there is now.
func (a *batchAnswer) recount() {
	if a.to != nil {
		a.to.count(cap(a.b) - a.counted)
		a.counted = cap(a.b)
	}
}

// memory returns an empty slice with room for n bytes, out of the pool.
func memory(n int) []byte { return (*buffers.Get(n))[:0] }

// buffer returns the answer for grpc, to whom its memory belongs from then on.
func (a *batchAnswer) buffer() mem.Buffer {
	a.recount()
	b := a.b
	a.b = nil
	if a.to != nil {
		return mem.NewBuffer(&b, counted{a.to})
	}
	return mem.NewBuffer(&b, &buffers)
}

// drop gives the memory back of an answer that is not given.
func (a *batchAnswer) drop() { a.buffer().Free() }

// decision writes a result that is a decision.
func (a *batchAnswer) decision(d *limiter.Decision, windows []limiter.WindowState, wall wallClock) {
	const heads = 4 // of the result and of the decision in it: a tag and a length each
	at := len(a.b)
	a.b = append(a.b, byte(a.number)<<3|byte(protowire.BytesType), 0, 1<<3|byte(protowire.BytesType), 0)
	a.b = appendDecision(a.b, d, windows, wall)
	if n := len(a.b) - at - heads; n+2 < 0x80 {
		a.b[at+1], a.b[at+3] = byte(n+2), byte(n)
		return
	}
	decision := append([]byte(nil), a.b[at+heads:]...)
	a.b = a.b[:at]
	a.result(1, decision)
}

// fail writes a result that is an error.
func (a *batchAnswer) fail(err error) {
	status, _ := proto.Marshal(toProto(err)) // never fails: it was made of valid parts
	a.result(2, status)
}

// result writes a result that is a message in the field of that number.
func (a *batchAnswer) result(number protowire.Number, message []byte) {
	a.b = protowire.AppendTag(a.b, a.number, protowire.BytesType)
	a.b = protowire.AppendVarint(a.b, uint64(protowire.SizeTag(number)+protowire.SizeBytes(len(message))))
	a.b = protowire.AppendTag(a.b, number, protowire.BytesType)
	a.b = protowire.AppendBytes(a.b, message)
}

// gap leaves the place of a result that comes later.
func (a *batchAnswer) gap() { a.gaps = append(a.gaps, len(a.b)) }

// fill writes the results that were left out: each calls for that of gap i.
func (a *batchAnswer) fill(write func(i int)) {
	from, gaps := a.b, a.gaps
	a.b, a.gaps = memory(len(from)+len(gaps)*resultBytes), nil
	at := 0
	for i, gap := range gaps {
		a.b = append(a.b, from[at:gap]...)
		write(i)
		at = gap
	}
	a.b = append(a.b, from[at:]...)
	buffers.Put(&from)
}

// failAll makes err each of the n results.
func (a *batchAnswer) failAll(err error, n int) {
	a.b, a.gaps = a.b[:a.head], nil
	for range n {
		a.fail(err)
	}
}

// appendCheckResponse appends a CheckResponse.
func appendCheckResponse(b []byte, d *limiter.Decision, windows []limiter.WindowState, wall wallClock) []byte {
	return appendMessage(b, 1, func(b []byte) []byte { return appendDecision(b, d, windows, wall) })
}

// appendMessage appends a field that is a message, most often a short one.
func appendMessage(b []byte, number protowire.Number, appendBody func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	at := len(b) + 1
	b = appendBody(append(b, 0))
	if n := len(b) - at; n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	body := append([]byte(nil), b[at:]...)
	return protowire.AppendBytes(b[:at-1], body)
}

// appendDecision appends the fields of a Decision.
func appendDecision(b []byte, d *limiter.Decision, windows []limiter.WindowState, wall wallClock) []byte {
	if d.Allowed {
		b = append(b, 1<<3, 1)
	}
	b = appendUint32(b, 2, d.Limit)
	b = appendUint32(b, 3, d.Remaining)
	b = appendUint64(b, 4, uint64(wall.resetUnix(d.Reset)))
	b = appendUint32(b, 5, inMillis(d.Reset))
	if d.RetryAfter > 0 {
		b = appendVarint(append(b, 6<<3), uint64(inMillis(d.RetryAfter)))
	}
	b = appendUint32(b, 7, uint32(d.Reason))
	b = appendUint32(b, 8, uint32(d.Exactness))
	for i := range windows {
		b = appendMessage(b, 9, func(b []byte) []byte { return appendWindow(b, &windows[i]) })
	}
	return b
}

// appendWindow appends the fields of a WindowState.
func appendWindow(b []byte, w *limiter.WindowState) []byte {
	b = appendUint32(b, 1, w.Limit)
	b = appendUint32(b, 2, inMillis(w.Per))
	b = appendUint32(b, 3, w.Used)
	b = appendUint32(b, 4, w.Remaining)
	b = appendUint32(b, 5, inMillis(w.Reset))
	if w.RetryAfter > 0 {
		b = appendVarint(append(b, 6<<3), uint64(inMillis(w.RetryAfter)))
	}
	return b
}

// appendUint32 appends a field, unless it is 0, as protobuf has it.
func appendUint32(b []byte, number byte, v uint32) []byte { return appendUint64(b, number, uint64(v)) }

// appendUint64 is appendUint32 for wider fields.
func appendUint64(b []byte, number byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendVarint(append(b, number<<3), v)
}

// appendVarint is protowire's, in a form that is inlined for what is most common.
func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// A wallClock is a reading of the clock that people read, in nanoseconds since 1970.
type wallClock int64

// resetUnix returns when a reset is, in Unix seconds, rounded up.
func (w wallClock) resetUnix(reset time.Duration) int64 {
	return (int64(w) + int64(reset) + int64(time.Second) - 1) / int64(time.Second)
}

// inMillis returns a duration of the engine, which is in whole milliseconds.
func inMillis(d time.Duration) uint32 { return uint32(d / time.Millisecond) }
