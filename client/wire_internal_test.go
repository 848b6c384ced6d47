package client

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// What is written by hand is what protobuf reads, and as short as what it writes.
func TestOutgoingIsProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outgoing{sequence: rapid.Uint64().Draw(t, "sequence"), timeoutMs: rapid.Uint32().Draw(t, "timeout")}
		want := &sluicev1.CheckStreamRequest{Sequence: m.sequence, TimeoutMs: m.timeoutMs}
		for range rapid.IntRange(0, 50).Draw(t, "checks") {
			r := CheckRequest{Key: rapid.String().Draw(t, "key"), Tier: rapid.String().Draw(t, "tier"), Explain: rapid.Bool().Draw(t, "explain")}
			if rapid.Bool().Draw(t, "costed") {
				r.Cost = Cost(rapid.Uint32().Draw(t, "cost"))
			}
			m.checks = append(m.checks, r)
			want.Checks = append(want.Checks, r.proto())
		}
		data, err := streamCodec{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		b := data.Materialize()
		data.Free()
		got := new(sluicev1.CheckStreamRequest)
		if err := proto.Unmarshal(b, got); err != nil || !proto.Equal(got, want) || len(b) != proto.Size(want) || len(b) > m.size() {
			t.Fatalf("%x reads as %v, %v, want %v in %d bytes of %d", b, got, err, want, proto.Size(want), m.size())
		}
	})
}

// FuzzIncoming holds that answers are read as protobuf has them, and garbage refused as it does.
func FuzzIncoming(f *testing.F) {
	st, err := status.New(codes.Unavailable, "/checks/3/key: no").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		f.Fatal(err)
	}
	retry := uint32(300)
	for _, m := range []*sluicev1.CheckStreamResponse{
		{},
		{Sequence: 1 << 60, Results: []*sluicev1.CheckResult{
			{Result: &sluicev1.CheckResult_Decision{Decision: &sluicev1.Decision{
				Allowed: true, Limit: 600, Remaining: 599, ResetUnix: 1_700_000_000, ResetAfterMs: 60_000, Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
			}}},
			{Result: &sluicev1.CheckResult_Decision{Decision: &sluicev1.Decision{
				Limit: 1, ResetAfterMs: 300, RetryAfterMs: &retry, Reason: sluicev1.Reason_REASON_RATE_LIMITED, Exactness: sluicev1.Exactness_EXACTNESS_RECOVERING,
				Windows: []*sluicev1.WindowState{{Limit: 1, PerMs: 1000, Used: 1, ResetAfterMs: 300, RetryAfterMs: &retry}},
			}}},
			{Result: &sluicev1.CheckResult_Error{Error: st.Proto()}},
			{},
		}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := new(sluicev1.CheckStreamResponse)
		wantErr := proto.Unmarshal(b, want)
		got := new(incoming)
		err := streamCodec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, protobuf has %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if got.sequence != want.GetSequence() || len(got.results) != len(want.GetResults()) {
			t.Fatalf("sequence %d and %d results, protobuf has %d and %d", got.sequence, len(got.results), want.GetSequence(), len(want.GetResults()))
		}
		for i, r := range want.GetResults() {
			if has, wants := got.results[i].err != nil, r.GetError().GetCode() != 0; has != wants {
				t.Errorf("result %d: error %v, protobuf has %v", i, got.results[i].err, r.GetError())
			}
			if d, want := got.results[i].decision, readDecision(r.GetDecision()); !equal(d, want) {
				t.Errorf("result %d: %+v, protobuf has %+v", i, d, want)
			}
		}
	})
}

// equal compares decisions.
func equal(a, b Decision) bool {
	if len(a.Windows) != len(b.Windows) {
		return false
	}
	for i := range a.Windows {
		if a.Windows[i] != b.Windows[i] {
			return false
		}
	}
	a.Windows, b.Windows = nil, nil
	return a.Allowed == b.Allowed && a.Limit == b.Limit && a.Remaining == b.Remaining && a.Reset == b.Reset &&
		a.RetryAfter == b.RetryAfter && a.Reason == b.Reason && a.Exactness == b.Exactness
}
