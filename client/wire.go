package client

import (
	"context"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The messages of CheckStream are written and read here and not by protobuf, which would make
// a message and several pieces of memory of each check. What
// is on the wire is the same: the tests compare.

// outgoing is a CheckStreamRequest.
type outgoing struct {
	sequence  uint64
	timeoutMs uint32
	checks    []CheckRequest
}

// append appends the message's bytes.
func (m *outgoing) append(b []byte) []byte {
	b = appendUint(b, 1, m.sequence)
	b = appendUint(b, 2, uint64(m.timeoutMs))
	for i := range m.checks {
		check := &m.checks[i]
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(check.size()))
		b = check.append(b)
	}
	return b
}

// size bounds the length of the message.
func (m *outgoing) size() int {
	n := 2 * (1 + protowire.SizeVarint(1<<63))
	for i := range m.checks {
		n += 1 + protowire.SizeBytes(m.checks[i].size())
	}
	return n
}

// size is the length of the request as a CheckRequest.
func (r *CheckRequest) size() (n int) {
	if r.Key != "" {
		n += 1 + protowire.SizeBytes(len(r.Key))
	}
	if r.Tier != "" {
		n += 1 + protowire.SizeBytes(len(r.Tier))
	}
	if r.Cost != nil {
		n += 1 + protowire.SizeVarint(uint64(*r.Cost))
	}
	if r.Explain {
		n += 2
	}
	return n
}

// append appends the bytes of the request as a CheckRequest.
func (r *CheckRequest) append(b []byte) []byte {
	if r.Key != "" {
		b = protowire.AppendString(append(b, 1<<3|byte(protowire.BytesType)), r.Key)
	}
	if r.Tier != "" {
		b = protowire.AppendString(append(b, 2<<3|byte(protowire.BytesType)), r.Tier)
	}
	if r.Cost != nil {
		b = protowire.AppendVarint(append(b, 3<<3), uint64(*r.Cost))
	}
	if r.Explain {
		b = append(b, 4<<3, 1)
	}
	return b
}

// appendUint appends a field that is a number, unless it is 0.
func appendUint(b []byte, number byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, number<<3), v)
}

// incoming is a CheckStreamResponse.
type incoming struct {
	sequence uint64
	results  []result // the memory is used again for the next message
}

// A result is a CheckResult: a decision, or an error if err is not nil. Without either exactness
// is Undecided.
type result struct {
	decision Decision
	err      *Error
}

// tell tells t the result, which is n's.
func (r *result) tell(t *try, n *node) {
	switch {
	case r.err != nil:
		r.err.Message = inPlace(r.err.Message, "")
		t.tell(answer{node: n, err: r.err})
	case !r.decision.Decided():
		t.tell(answer{node: n, err: errNoAnswer("Check")})
	default:
		t.land(n, &r.decision)
	}
}

// parse takes b. It returns false if b is no CheckStreamResponse.
func (m *incoming) parse(b []byte) bool {
	m.sequence = 0
	clear(m.results)
	m.results = m.results[:0]
	return fields(b, func(f field) bool {
		switch {
		case f.is(1, protowire.VarintType):
			m.sequence = f.varint
		case f.is(2, protowire.BytesType):
			m.results = append(m.results, result{})
			return m.results[len(m.results)-1].parse(f.bytes)
		}
		return true
	})
}

func (r *result) parse(b []byte) bool {
	var st *statuspb.Status
	ok := fields(b, func(f field) bool {
		switch {
		case f.is(1, protowire.BytesType):
			st = nil // of decision and error the last counts
			return r.decision.parse(f.bytes)
		case f.is(2, protowire.BytesType):
			if st == nil {
				st, r.decision = new(statuspb.Status), Decision{}
			}
			return proto.UnmarshalOptions{Merge: true}.Unmarshal(f.bytes, st) == nil
		}
		return true
	})
	if st.GetCode() != 0 {
		r.err = readStatus(st)
	}
	return ok
}

// parse takes the fields of a Decision that b has.
func (d *Decision) parse(b []byte) bool {
	for len(b) > 0 {
		f, n := consumeField(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if f.is(9, protowire.BytesType) {
			d.Windows = append(d.Windows, WindowState{})
			if !d.Windows[len(d.Windows)-1].parse(f.bytes) {
				return false
			}
			continue
		}
		if f.typ != protowire.VarintType {
			continue
		}
		switch v := uint32(f.varint); f.number {
		case 1:
			d.Allowed = f.varint != 0
		case 2:
			d.Limit = v
		case 3:
			d.Remaining = v
		case 5:
			d.Reset = millis(v)
		case 6:
			d.RetryAfter = millis(v)
		case 7:
			d.Reason = Reason(int32(v))
		case 8:
			d.Exactness = Exactness(int32(v))
		}
	}
	return true
}

func (w *WindowState) parse(b []byte) bool {
	return fields(b, func(f field) bool {
		if f.typ != protowire.VarintType {
			return true
		}
		switch v := uint32(f.varint); f.number {
		case 1:
			w.Limit = v
		case 2:
			w.Per = millis(v)
		case 3:
			w.Used = v
		case 4:
			w.Remaining = v
		case 5:
			w.Reset = millis(v)
		case 6:
			w.RetryAfter = millis(v)
		}
		return true
	})
}

// field is one field as it stands on the wire.
type field struct {
	number protowire.Number
	typ    protowire.Type
	varint uint64 // if typ is VarintType
	bytes  []byte // if typ is BytesType
}

func (f *field) is(number protowire.Number, typ protowire.Type) bool {
	return f.number == number && f.typ == typ
}

// fields calls each for every field of b. It returns false if b is no message, or each says so.
func fields(b []byte, each func(field) bool) bool {
	for len(b) > 0 {
		f, n := consumeField(b)
		if n < 0 || !each(f) {
			return false
		}
		b = b[n:]
	}
	return true
}

// consumeField returns the first field of b and its length, which is negative if there is none.
func consumeField(b []byte) (f field, n int) {
	if len(b) > 1 && b[0] < 0x80 && b[0]>>3 > 0 && b[0]&7 == byte(protowire.VarintType) && b[1] < 0x80 {
		return field{number: protowire.Number(b[0] >> 3), varint: uint64(b[1])}, 2 // most are so short
	}
	number, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 || number > protowire.MaxValidNumber {
		return f, -1
	}
	f.number, f.typ = number, typ
	switch b = b[tag:]; typ {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	if n < 0 {
		return f, -1
	}
	return f, tag + n
}

// streamCodec carries the messages of CheckStream.
type streamCodec struct{}

// Name is that of protobuf, which is what is on the wire.
func (streamCodec) Name() string { return "proto" }

// Marshal returns the bytes of an *outgoing.
func (streamCodec) Marshal(v any) (mem.BufferSlice, error) {
	m := v.(*outgoing)
	pool := mem.DefaultBufferPool()
	b := pool.Get(m.size())
	*b = m.append((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// Unmarshal parses data into an *incoming.
func (streamCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	if !v.(*incoming).parse(b.ReadOnlyData()) {
		return errNoAnswer("CheckStream")
	}
	return nil
}

// openStream begins a CheckStream.
func (n *node) openStream(ctx context.Context) (grpc.ClientStream, error) {
	return n.conn.NewStream(ctx, &sluicev1.RateLimiterService_ServiceDesc.Streams[0],
		sluicev1.RateLimiterService_CheckStream_FullMethodName, grpc.ForceCodecV2(streamCodec{}))
}
