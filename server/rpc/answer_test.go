package rpc

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// anyDecision is a decision with any numbers, and the windows beside it.
func anyDecision(t *rapid.T) (limiter.Decision, []limiter.WindowState) {
	ms := func(name string) time.Duration {
		return time.Duration(rapid.Uint32().Draw(t, name)) * time.Millisecond
	}
	d := limiter.Decision{
		Allowed: rapid.Bool().Draw(t, "allowed"), Reason: limiter.Reason(rapid.IntRange(0, 7).Draw(t, "reason")),
		Exactness: limiter.Exactness(rapid.IntRange(0, 3).Draw(t, "exactness")), Limit: rapid.Uint32().Draw(t, "limit"),
		Remaining: rapid.Uint32().Draw(t, "remaining"), Reset: ms("reset"), RetryAfter: ms("retry"),
	}
	windows := make([]limiter.WindowState, rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(t, "windows"))
	for i := range windows {
		windows[i] = limiter.WindowState{
			Window: limiter.Window{Limit: rapid.Uint32().Draw(t, "limit"), Per: ms("per")}, Used: rapid.Uint32().Draw(t, "used"),
			Remaining: rapid.Uint32().Draw(t, "remaining"), Reset: ms("reset"), RetryAfter: ms("retry"),
		}
	}
	return d, windows
}

// asMessage is what the API says of a decision.
func asMessage(d limiter.Decision, windows []limiter.WindowState, wall time.Time) *sluicev1.Decision {
	m := new(sluicev1.Decision)
	put(m, new(uint32), d, wall)
	for _, w := range windows {
		state := &sluicev1.WindowState{
			Limit: w.Limit, PerMs: inMillis(w.Per), Used: w.Used, Remaining: w.Remaining, ResetAfterMs: inMillis(w.Reset),
		}
		if w.RetryAfter > 0 {
			state.RetryAfterMs = proto.Uint32(inMillis(w.RetryAfter))
		}
		m.Windows = append(m.Windows, state)
	}
	return m
}

// What is written by hand is what protobuf reads, and as short as what it writes.
func TestAnswersAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wall := time.Unix(0, rapid.Int64Range(0, math.MaxInt64/2).Draw(t, "wall"))
		d, windows := anyDecision(t)
		want := &sluicev1.CheckResponse{Decision: asMessage(d, windows, wall)}
		b := appendCheckResponse(nil, &d, windows, wallClock(wall.UnixNano()))
		got := new(sluicev1.CheckResponse)
		if err := proto.Unmarshal(b, got); err != nil || !proto.Equal(got, want) || len(b) != proto.Size(want) {
			t.Fatalf("%x reads as %v, %v, want %v in %d bytes", b, got, err, want, proto.Size(want))
		}
	})
}

// So is a batch, in whatever order its results come.
func TestBatchAnswersAreProtobuf(t *testing.T) {
	wall := time.Unix(1_700_000_000, 1)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "results")
		want := &sluicev1.CheckStreamResponse{Sequence: rapid.Uint64().Draw(t, "sequence")}
		a := newBatchAnswer(2, appendUint64(nil, 1, want.Sequence), n, nil)
		var later []func()
		for range n {
			d, windows := anyDecision(t)
			write := func() { a.decision(&d, windows, wallClock(wall.UnixNano())) }
			result := &sluicev1.CheckResult{Result: &sluicev1.CheckResult_Decision{Decision: asMessage(d, windows, wall)}}
			if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
				err := field{list: "checks", index: rand.IntN(9), name: "key"}.invalid("is required")
				write = func() { a.fail(err) }
				result = &sluicev1.CheckResult{Result: &sluicev1.CheckResult_Error{Error: toProto(err)}}
			}
			want.Results = append(want.Results, result)
			if rapid.Bool().Draw(t, "later") {
				a.gap()
				later = append(later, write)
			} else {
				write()
			}
		}
		a.fill(func(i int) { later[i]() })
		b := a.buffer().ReadOnlyData()
		got := new(sluicev1.CheckStreamResponse)
		if err := proto.Unmarshal(b, got); err != nil || !proto.Equal(got, want) || len(b) != proto.Size(want) {
			t.Fatalf("%x reads as %v, %v, want %v in %d bytes", b, got, err, want, proto.Size(want))
		}
	})
}

// A batch of which nothing may be told any more has an error for each of its checks.
func TestBatchAnswerFailsWhole(t *testing.T) {
	a := newBatchAnswer(2, appendUint64(nil, 1, 7), 3, nil)
	a.decision(&limiter.Decision{Allowed: true, Exactness: limiter.Exact}, nil, 0)
	a.gap()
	a.failAll(late(), 3)
	got := new(sluicev1.CheckStreamResponse)
	if err := proto.Unmarshal(a.buffer().ReadOnlyData(), got); err != nil || got.Sequence != 7 || len(got.Results) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, r := range got.Results {
		notNow.check(t, status.FromProto(r.GetError()).Err())
	}
}

func TestBufferPool(t *testing.T) {
	var pool bufferPool
	for _, n := range []int{0, 1, 2, 3, 1000, 1024, 1025, 1 << 20} {
		for range 3 {
			b := pool.Get(n)
			if len(*b) != n {
				t.Fatalf("Get(%d) has %d bytes", n, len(*b))
			}
			for i := range *b {
				(*b)[i] = 0xff
			}
			pool.Put(b)
		}
	}
	odd := make([]byte, 0, 1000) // as append makes them
	pool.Put(&odd)
	if b := pool.Get(512); cap(*b) < 512 {
		t.Errorf("a buffer of %d bytes for 512", cap(*b))
	}
	pool.Put(new([]byte))
}
