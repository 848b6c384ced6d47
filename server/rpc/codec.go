package rpc

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// inbound is a request as it comes off the wire: the message, or why it could not be
// parsed. A codec that fails a parse makes grpc answer INTERNAL before any handler runs;
// this way the handler says what is wrong.
//
// The strings of msg are pieces of bytes, so they end with wipe.
type inbound[M any, P message[M]] struct {
	msg   M
	err   error // a *statusError
	bytes mem.Buffer
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

// wipe overwrites the request. To be called when the call is over, or the batch.
func (in *inbound[M, P]) wipe() {
	if in.bytes != nil {
		clear(in.bytes.ReadOnlyData())
		in.bytes.Free()
		in.bytes = nil
	}
}

// receiver is what the codec sees of an inbound.
type receiver interface {
	// receive takes a message. It is its owner: nobody else reads it.
	receive(mem.Buffer)
}

// codec is protobuf, but hands requests of ours to their handlers even if they do not
// parse, and together with the bytes that they came in: they hold API keys, and the
// handler wipes them.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Unmarshal parses data into v.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(receiver)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	in.receive(join(data))
	return nil
}

// join returns all of data as one buffer, which its caller owns. Nothing of it is left
// elsewhere.
func join(data mem.BufferSlice) mem.Buffer {
	if len(data) == 1 {
		data[0].Ref()
		return data[0]
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(data.Len())
	rest := *b
	for _, part := range data {
		from := part.ReadOnlyData()
		rest = rest[move(rest, from):]
		clear(from)
	}
	return mem.NewBuffer(b, pool)
}
