package rpc

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// invoke calls a method's handler as grpc would, without a network.
func invoke(ctx context.Context, s *service, method string, b []byte) (any, error) {
	for _, m := range describe().Methods {
		if m.MethodName == method {
			decode := func(v any) error { return newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, v) }
			return m.Handler(s, ctx, decode, nil)
		}
	}
	panic("no method " + method)
}

// FuzzCheckRequest holds that any bytes get a decision or an error that is the caller's,
// and that they are wiped. And parsing agrees with protobuf's.
func FuzzCheckRequest(f *testing.F) {
	for _, in := range badInputs(f) {
		if in.method == "Check" {
			f.Add(in.bytes)
		}
	}
	f.Add(wire(f, &sluicev1.CheckRequest{Key: "k", Tier: "two", Cost: proto.Uint32(0), Explain: true}))
	c, _ := newConfig(f, small, limiter.Config{MaxKeys: 1000})
	s := newService(&c)
	f.Fuzz(func(t *testing.T, b []byte) {
		sent := slices.Clone(b)
		resp, err := invoke(t.Context(), s, "Check", sent)
		answer := new(sluicev1.CheckResponse)
		if b, ok := resp.(mem.Buffer); ok && proto.Unmarshal(b.ReadOnlyData(), answer) != nil {
			t.Errorf("answer %x does not parse", b.ReadOnlyData())
		}
		if d := answer.GetDecision(); (err == nil) != (d.GetExactness() != 0) {
			t.Errorf("decision %v, error %v", d, err)
		}
		if err != nil && status.Code(err) != codes.InvalidArgument {
			t.Errorf("error %v", err)
		}
		if i := slices.IndexFunc(sent, func(c byte) bool { return c != 0 }); i >= 0 {
			t.Errorf("byte %d was not wiped", i)
		}
		agree(t, b, new(sluicev1.CheckRequest))
		agree(t, b, new(sluicev1.CheckBatchRequest))
		agree(t, b, new(sluicev1.CheckStreamRequest))
		agree(t, b, new(sluicev1.AcquireRequest))
	})
}

// agree holds that b parses as protobuf would have it.
func agree(t *testing.T, b []byte, m proto.Message) {
	t.Helper()
	want := m.ProtoReflect().New().Interface()
	wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, want)
	err := unmarshalAny(b, m)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%T: error %v, protobuf has %v", m, err, wantErr)
	}
	if err == nil && !proto.Equal(m, want) {
		t.Fatalf("got %v, protobuf has %v", m, want)
	}
}

// unmarshalAny parses b as the codec does, and makes m of it.
func unmarshalAny(b []byte, m proto.Message) error {
	buf := mem.SliceBuffer(b)
	switch m := m.(type) {
	case *sluicev1.CheckRequest:
		var in checkRequest
		in.receive(buf)
		proto.Merge(m, in.check.message())
		return in.err
	case *sluicev1.CheckBatchRequest:
		var in batchRequest
		in.receive(buf)
		m.Checks = in.messages()
		return in.err
	case *sluicev1.CheckStreamRequest:
		var in streamRequest
		in.receive(buf)
		m.Sequence, m.TimeoutMs, m.Checks = in.sequence, in.timeoutMs, in.messages()
		return in.err
	default:
		return unmarshal(b, m)
	}
}

func (c *check) message() *sluicev1.CheckRequest {
	m := &sluicev1.CheckRequest{Key: c.key, Tier: c.tier, Explain: c.explain}
	if c.costed {
		m.Cost = &c.cost
	}
	return m
}

func (m *batch) messages() (all []*sluicev1.CheckRequest) {
	for i := range m.checks {
		all = append(all, m.checks[i].message())
	}
	return all
}

// FuzzLeaseID holds that only the lease id that was sealed releases its lease.
func FuzzLeaseID(f *testing.F) {
	c, _ := newConfig(f, small, limiter.Config{MaxKeys: 1000})
	s := newService(&c)
	out, err := invoke(f.Context(), s, "Acquire", wire(f, &sluicev1.AcquireRequest{Key: "k", RunId: "r", TtlMs: 600_000}))
	if err != nil {
		f.Fatal(err)
	}
	id := out.(*sluicev1.AcquireResponse).GetLeaseId()
	f.Add(id[:len(id)-1])
	f.Add("B" + id[1:])
	f.Add(strings.ToLower(id))
	f.Add(strings.Repeat("A", limiter.LeaseIDLen))
	f.Fuzz(func(t *testing.T, forged string) {
		if forged == id {
			return
		}
		_, err := invoke(t.Context(), s, "Release", textField(1, forged))
		if code := status.Code(err); code != codes.NotFound && code != codes.InvalidArgument {
			t.Errorf("%q: %v", forged, err)
		}
		if _, ok := s.sealer.Open(forged); ok {
			t.Errorf("%q has a good seal", forged)
		}
	})
}

// FuzzMalformed holds that whatever protobuf does not parse gets an error that says where,
// and that nothing else is found fault with.
func FuzzMalformed(f *testing.F) {
	for _, in := range badInputs(f) {
		if len(in.bytes) < 1000 {
			f.Add(in.bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []proto.Message{
			new(sluicev1.CheckRequest), new(sluicev1.CheckBatchRequest), new(sluicev1.CheckStreamRequest),
			new(sluicev1.AcquireRequest), new(sluicev1.RenewRequest), new(sluicev1.ReleaseRequest),
		} {
			d := m.ProtoReflect().Descriptor()
			where, what := locate(d, b, place{})
			if parses := proto.Unmarshal(b, m) == nil; parses != (what == "") {
				t.Errorf("%T: parses %t, but %q at %q", m, parses, what, where.pointer)
			}
			if what == "" {
				continue
			}
			st := status.Convert(malformed(d, b))
			if st.Code() != codes.InvalidArgument || !strings.HasPrefix(st.Message(), "/") || len(st.Details()) != 2 {
				t.Errorf("%T: %v", m, st)
			}
		}
	})
}
