package rpc

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// held is what every request has beside its message: why it could not be parsed, and the
// bytes that its strings are pieces of. A codec that fails a parse makes grpc answer INTERNAL
// before any handler runs; this way the handler says what is wrong.
type held struct {
	err   error // a *statusError
	bytes mem.Buffer
}

func (h *held) fault() error { return h.err }

func (h *held) refuse(err error) { h.err = err }

// wipe overwrites the request. To be called when the call is over, or the batch.
func (h *held) wipe() {
	if h.bytes != nil {
		clear(h.bytes.ReadOnlyData())
		h.bytes.Free()
		h.bytes = nil
	}
}

// inbound is a request that is parsed into its protobuf message.
type inbound[M any, P message[M]] struct {
	held
	msg M
}

// message is a pointer to a request type.
type message[M any] interface {
	*M
	proto.Message
}

func (in *inbound[M, P]) receive(b mem.Buffer) {
	in.bytes = b
	in.err = unmarshal(b.ReadOnlyData(), P(&in.msg))
}

// checkRequest is a CheckRequest.
type checkRequest struct {
	held
	check check
}

func (in *checkRequest) receive(b mem.Buffer) {
	in.bytes = b
	if !in.check.parse(b.ReadOnlyData()) {
		in.err = malformed(descriptorOf[sluicev1.CheckRequest](), b.ReadOnlyData())
	}
}

// batchRequest is a CheckBatchRequest.
type batchRequest struct {
	held
	batch
}

func (in *batchRequest) receive(b mem.Buffer) {
	in.bytes = b
	items, ok := in.parse(b.ReadOnlyData(), 1, func(*wireField) {})
	in.err = in.judge(items, ok, descriptorOf[sluicev1.CheckBatchRequest])
}

func (in *batchRequest) wipe() {
	in.held.wipe()
	in.forget()
}

// streamRequest is a CheckStreamRequest.
type streamRequest struct {
	held
	batch
}

func (in *streamRequest) receive(b mem.Buffer) {
	in.bytes = b
	items, ok := in.parse(b.ReadOnlyData(), 3, func(f *wireField) {
		f.uint64(1, &in.sequence)
		f.uint32(2, &in.timeoutMs)
	})
	in.err = in.judge(items, ok, descriptorOf[sluicev1.CheckStreamRequest])
}

func (in *streamRequest) wipe() {
	in.held.wipe()
	in.forget()
}

// judge returns what is wrong with a list of so many items, which parsed or did not.
func (h *held) judge(items int, ok bool, of func() protoreflect.MessageDescriptor) error {
	switch {
	case items > maxBatch:
		return tooMany("checks", items, maxBatch)
	case !ok:
		return malformed(of(), h.bytes.ReadOnlyData())
	}
	return nil
}

func descriptorOf[M any, P message[M]]() protoreflect.MessageDescriptor {
	return P(nil).ProtoReflect().Descriptor()
}

// receiver is what the codec sees of a request of ours.
type receiver interface {
	// receive takes a message. It is its owner: nobody else reads it.
	receive(mem.Buffer)
	// refuse takes, in place of a message, what is wrong with it.
	refuse(error)
}

// codec is protobuf, but hands requests of ours to their handlers even if they do not
// parse, and together with the bytes that they came in: they hold API keys, and the
// handler wipes them. Answers that are a mem.Buffer it takes as they are. Of requests of other
// services it makes text readable, as what a gateway's client sends as a key may be none.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal returns the bytes of v.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(mem.Buffer); ok {
		return mem.BufferSlice{b}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal parses data into v.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(receiver); ok {
		in.receive(join(data))
		return nil
	}
	err := c.CodecV2.Unmarshal(data, v)
	if m, ok := v.(proto.Message); ok && err != nil {
		b := data.Materialize() // a copy
		defer clear(b)
		if legible(m.ProtoReflect().Descriptor(), b) {
			return proto.Unmarshal(b, m)
		}
	}
	return err
}

// join returns all of data as one buffer, which its caller owns. Nothing of it is left
// elsewhere.
func join(data mem.BufferSlice) mem.Buffer {
	if len(data) == 1 {
		data[0].Ref()
		return data[0]
	}
	b := buffers.Get(data.Len())
	rest := *b
	for _, part := range data {
		from := part.ReadOnlyData()
		rest = rest[move(rest, from):]
		clear(from)
	}
	return mem.NewBuffer(b, &buffers)
}

// buffers are those of long messages. grpc's own pool has one size for all from 32 KiB to 1 MiB,
// and overwrites all of it each time it is taken. Who takes a buffer here writes all that it uses.
var buffers bufferPool

// bufferPool has buffers by powers of two.
type bufferPool struct{ sizes [bits.UintSize]sync.Pool }

// Get returns a buffer of that length, with anything in it.
func (p *bufferPool) Get(length int) *[]byte {
	size := bits.Len(uint(max(length, 1) - 1)) // 2^size is enough
	if b, ok := p.sizes[size].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<size)
	return &b
}

// Put takes a buffer back.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) > 0 {
		p.sizes[bits.Len(uint(cap(*b)))-1].Put(b) // 2^size is there
	}
}
