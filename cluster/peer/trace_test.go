package peer

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// traced returns the golden calls, each with a trace.
func traced() []Call {
	calls := append([]Call(nil), goldenCall...)
	for i := range calls {
		calls[i].Trace = &Trace{0: byte(i + 1), 15: 0xff, 16: 7, 24: 1}
	}
	return calls
}

func tracedRequest() (b []byte) {
	for i, c := range traced() {
		b = appendCall(b, uint64(i+1), &c, time.Second)
	}
	return b
}

func TestTracesTravelWithTheirCalls(t *testing.T) {
	req := new(peerv1.ForwardRequest)
	if err := proto.Unmarshal(tracedRequest(), req); err != nil {
		t.Fatal(err)
	}
	canonical, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"our own bytes": tracedRequest(), "protobuf's": canonical} {
		q := new(questions)
		if err := q.parseWire(b); err != nil {
			t.Fatal(err)
		}
		for i, want := range traced() {
			if got := q.calls[i].Call; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: call %d is\n%+v, want\n%+v", name, i, got, want)
			}
			if !bytes.Equal(req.GetCalls()[i].GetTrace(), want.Trace[:]) {
				t.Errorf("protobuf reads the trace of call %d as %x", i, req.GetCalls()[i].GetTrace())
			}
		}
	}
}

// A call without a trace has no byte for it: it is what earlier builds sent.
func TestOnlyTheTraceIsAdded(t *testing.T) {
	for i, c := range traced() {
		with := appendCall(nil, 1, &c, time.Second)
		c.Trace = nil
		without := appendCall(nil, 1, &c, time.Second)
		if n := len(with) - len(without); n < 2+1+25 || n > 2+1+25+1 {
			t.Errorf("call %d has %d bytes more with a trace", i, n)
		}
		m := new(peerv1.ForwardRequest)
		if err := proto.Unmarshal(with, m); err != nil {
			t.Fatal(err)
		}
		m.Calls[0].Trace = nil
		bare := new(peerv1.ForwardRequest)
		if err := proto.Unmarshal(without, bare); err != nil || !proto.Equal(m, bare) {
			t.Errorf("call %d without its trace is\n%v, want\n%v", i, m, bare)
		}
	}
}

func TestTracesOfAnotherLengthAreIgnored(t *testing.T) {
	for _, n := range []int{0, 1, 24, 26, 1000} {
		b, err := proto.Marshal(&peerv1.ForwardRequest{Calls: []*peerv1.Call{{Kind: 1, Tier: "free", Trace: make([]byte, n)}}})
		if err != nil {
			t.Fatal(err)
		}
		q := new(questions)
		if err := q.parseWire(b); err != nil || q.calls[0].Trace != nil || q.calls[0].Tier != "free" {
			t.Errorf("a trace of %d bytes: %v, %+v", n, err, q.calls)
		}
	}
	q := new(questions)
	if err := q.parseWire([]byte{3<<3 | 2, 5, 2 << 3, 1, 0x98, 0x01, 7}); err != nil || q.calls[0].Trace != nil {
		t.Errorf("a number for a trace: %v, %+v", err, q.calls)
	}
}

// What a call takes on the wire is known before it is written.
func TestACallIsNotLongerThanExpected(t *testing.T) {
	c := Call{
		Kind: Renew, Tier: "t", Cost: math.MaxUint32, HasCost: true, Explain: true, RunID: "r", TaskID: "t", RequestID: "q",
		TTL: math.MaxInt64, Trace: new(Trace), Hops: 255,
		Ref: limiter.LeaseRef{
			Key:  limiter.Key{Partition: math.MaxUint16, ID: limiter.IdentityOf(math.MaxUint64, math.MaxUint64)},
			Tier: math.MaxUint64, Run: limiter.RunHashOf(math.MaxUint64, math.MaxUint64), Nonce: math.MaxUint64,
		},
	}
	if b := appendCall(nil, math.MaxUint64, &c, math.MaxInt64); len(b) > callBytes(&c) {
		t.Errorf("%d bytes, expected at most %d", len(b), callBytes(&c))
	}
}

// agreesOnTraces requires that the traces of calls are those that protobuf reads in b, if it
// reads b at all.
func agreesOnTraces(t *testing.T, b []byte, calls []asked) {
	req := new(peerv1.ForwardRequest)
	if proto.Unmarshal(b, req) != nil {
		return
	}
	for i, c := range req.GetCalls() {
		want := traceOf(c.GetTrace())
		if got := calls[i].Trace; (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Fatalf("the trace of call %d is %x, want %x", i, got, want)
		}
	}
}
