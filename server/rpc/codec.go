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
type inbound[M any] struct {
	msg M
	err error // a *statusError
}

// receiver is what the codec sees of an inbound.
type receiver interface{ receive(b []byte) }

// codec is protobuf, but hands requests of ours to their handlers even if they do not
// parse, and wipes the bytes that they came in: they hold API keys.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Unmarshal parses data into v. It is the last to see data.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(receiver)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	in.receive(b.ReadOnlyData())
	clear(b.ReadOnlyData())
	b.Free()
	for _, part := range data {
		clear(part.ReadOnlyData())
	}
	wipeRegisters()
	return nil
}

// unmarshal parses b into m. The error names the field at fault if one can be told.
func unmarshal(b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return malformed(m.ProtoReflect().Descriptor(), b)
	}
	return nil
}
