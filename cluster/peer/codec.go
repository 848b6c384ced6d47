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
	if w, ok := v.(wire); ok {
		return mem.BufferSlice{mem.SliceBuffer(w.encodeWire())}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal parses data into v.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if w, ok := v.(wire); ok {
		return w.parseWire(data.Materialize())
	}
	return c.CodecV2.Unmarshal(data, v)
}

var errGarbage = errors.New("a message cannot be parsed")

// fields calls field for each field of message b: with its bytes if it has some, else with
// its number. Groups are passed over.
func fields(b []byte, field func(num protowire.Number, value uint64, bytes []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errGarbage
		}
		b = b[n:]
		var value uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
			if bytes == nil {
				bytes = []byte{}
			}
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return errGarbage
		}
		if err := field(num, value, bytes); err != nil {
			return err
		}
		b = b[n:]
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
}

func (p *post) encodeWire() []byte {
	size := 64 + len(p.part)
	for _, l := range p.letters {
		size += len(l) + 8
	}
	b := appendHello(make([]byte, 0, size), p.hello)
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

func (p *post) parseWire(b []byte) error {
	*p = post{}
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
