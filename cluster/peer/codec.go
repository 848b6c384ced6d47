package peer

import (
	"errors"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// The messages of streams are encoded by hand, as peer.proto says: calls and answers because
// they are the hot path, letters because they are encoded before it is known how many share
// a message.

// wire is a message that encodes itself.
type wire interface {
	// encodeWire returns the message, which is not changed any more.
	encodeWire() []byte
	// parseWire sets the message from b, parts of which it may keep.
	parseWire(b []byte) error
}

// codec is protobuf, but lets messages that can encode themselves do it.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal encodes v.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch w := v.(type) {
	case *post:
		return mem.BufferSlice{w.encodeInto(&letterBuffers)}, nil
	case wire:
		return mem.BufferSlice{mem.SliceBuffer(w.encodeWire())}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal parses data into v.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch w := v.(type) {
	case *post:
		return w.parseFrom(data.MaterializeToBuffer(&letterBuffers))
	case wire:
		return w.parseWire(data.Materialize())
	}
	return c.CodecV2.Unmarshal(data, v)
}

var errGarbage = errors.New("a message cannot be parsed")

// A field is one of a message: bytes if it has some, else nil and a number.
type field struct {
	num   protowire.Number
	value uint64
	bytes []byte
}

// nextField returns the first field of message b, which is not empty, and what follows it.
func nextField(b []byte) (f field, rest []byte, err error) {
	if len(b) >= 2 && b[0]|b[1] < 1<<7 { // most: their tag is a byte, and their number or length another
		f.num, f.value = protowire.Number(b[0]>>3), uint64(b[1])
		switch typ := protowire.Type(b[0] & 7); {
		case f.num == 0:
		case typ == protowire.VarintType:
			return f, b[2:], nil
		case typ == protowire.BytesType && int(f.value) <= len(b)-2:
			end := 2 + int(f.value)
			return field{num: f.num, bytes: b[2:end:end]}, b[end:], nil
		}
	}
	return nextOfAny(b)
}

// nextOfAny is nextField for fields of any kind. Groups are passed over, and have number 0.
func nextOfAny(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, errGarbage
	}
	f.num, b = num, b[n:]
	switch typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
		if f.bytes == nil {
			f.bytes = []byte{}
		}
	default:
		f.num = 0
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return field{}, nil, errGarbage
	}
	return f, b[n:], nil
}

// usualUint returns the number that message b begins with, if that is field num, which is below
// 16, and what follows it: so messages whose fields come in their order are read without asking of
// each which it is. Whoever reads on takes what comes in another order.
func usualUint(b []byte, num protowire.Number) (v uint64, rest []byte) {
	switch {
	case len(b) < 2 || b[0] != byte(num)<<3|byte(protowire.VarintType):
		return 0, b
	case b[1] < 1<<7:
		return uint64(b[1]), b[2:]
	}
	v, n := protowire.ConsumeVarint(b[1:])
	if n < 0 {
		return 0, b // whoever reads on says so
	}
	return v, b[1+n:]
}

// fields calls do for each field of message b: with its bytes if it has some, else with its
// number. Groups are passed over.
func fields(b []byte, do func(num protowire.Number, value uint64, bytes []byte) error) error {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		if f.num != 0 {
			if err := do(f.num, f.value, f.bytes); err != nil {
				return err
			}
		}
		b = rest
	}
	return nil
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return append(protowire.AppendTag(b, num, protowire.VarintType), 1)
}

func appendFixed(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// appendMessage appends a message, the fields of which body appends.
func appendMessage(b []byte, num protowire.Number, body func([]byte) []byte) []byte {
	b, at := beginMessage(b, num)
	return endMessage(body(b), at)
}

// beginMessage begins a message, to be ended by endMessage with the place that it returns.
func beginMessage(b []byte, num protowire.Number) (_ []byte, at int) {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return append(b, 0), len(b)
}

// endMessage writes the length of the message that began at a place: mostly into the byte that
// was left for it.
func endMessage(b []byte, at int) []byte {
	n := len(b) - at - 1
	if n < 1<<7 {
		b[at] = byte(n)
		return b
	}
	var longer [9]byte
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, longer[:more]...)
	copy(b[at+1+more:], b[at+1:at+1+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

func appendHello(b []byte, h *peerv1.Hello) []byte {
	if h == nil {
		return b
	}
	m, err := proto.Marshal(h)
	if err != nil {
		return b // a name that is not UTF-8: the other side misses the hello, and says so
	}
	return appendBytes(b, 1, m)
}

func parseHello(b []byte) (*peerv1.Hello, error) {
	h := new(peerv1.Hello)
	return h, proto.Unmarshal(b, h)
}

// post is a FramesResponse or a CopiesResponse.
type post struct {
	hello   *peerv1.Hello
	letters [][]byte
	part    []byte
	hasPart bool
	last    bool // with hasPart

	held mem.Buffer // when read: what the above is part of
}

// size returns about how many bytes the post takes.
func (p *post) size() int {
	size := 64 + len(p.part)
	for _, l := range p.letters {
		size += len(l) + 8
	}
	return size
}

// encodeInto encodes the post into memory of a pool, to which it goes back once it was written.
func (p *post) encodeInto(pool mem.BufferPool) mem.Buffer {
	buf := pool.Get(p.size())
	*buf = p.append((*buf)[:0])
	return mem.NewBuffer(buf, pool)
}

// append appends the post, encoded.
func (p *post) append(b []byte) []byte {
	b = appendHello(b, p.hello)
	for _, l := range p.letters {
		b = appendBytes(b, 2, l)
	}
	if p.hasPart {
		b = appendMessage(b, 3, func(b []byte) []byte {
			return appendBool(appendBytes(b, 1, p.part), 2, p.last)
		})
	}
	return b
}

// parseFrom is parseWire of a buffer, which the post holds from then on.
func (p *post) parseFrom(b mem.Buffer) error {
	err := p.parseWire(b.ReadOnlyData())
	p.held = b
	return err
}

// done gives back the memory of a post that was read and is not needed any more.
func (p *post) done() {
	if p.held != nil {
		p.held.Free()
	}
	clear(p.letters)
	*p = post{letters: p.letters[:0]}
}

func (p *post) parseWire(b []byte) error {
	*p = post{letters: p.letters[:0]}
	return fields(b, func(num protowire.Number, _ uint64, bytes []byte) (err error) {
		switch {
		case bytes == nil:
		case num == 1:
			p.hello, err = parseHello(bytes)
		case num == 2:
			p.letters = append(p.letters, bytes)
		case num == 3:
			p.hasPart = true
			err = fields(bytes, func(num protowire.Number, value uint64, bytes []byte) error {
				switch {
				case num == 1 && bytes != nil:
					p.part = bytes
				case num == 2:
					p.last = value != 0
				}
				return nil
			})
		}
		return err
	})
}
