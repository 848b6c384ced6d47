// Package ask asks limiters for decisions: Sluice and its peers, each by its own protocol, with as
// little work on this side as can be. Requests are written, and answers read, as bytes: what
// a client library would add is not what is measured, and leaves more of the machine to the
// servers.
package ask

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// An Asker asks for decisions, one for each key, and returns how many were denied. It is used by
// one goroutine at a time.
type Asker interface {
	Ask(ctx context.Context, keys []string) (denied int, err error)
}

// A Protocol is how one kind of limiter is asked over gRPC.
type Protocol struct {
	Method string // full name
	// request appends a call that asks once for each key.
	request func(b []byte, keys []string) []byte
	// denied reads the answer to one that asked for n.
	denied func(b []byte, n int) (int, error)
}

// A Caller asks by one gRPC call for all keys that it is given.
type Caller struct {
	conn     *grpc.ClientConn
	protocol Protocol
	request  []byte
}

// NewCaller returns a Caller over conn, which others may use as well.
func NewCaller(conn *grpc.ClientConn, p Protocol) *Caller { return &Caller{conn: conn, protocol: p} }

// Ask makes one call.
func (c *Caller) Ask(ctx context.Context, keys []string) (int, error) {
	c.request = c.protocol.request(c.request[:0], keys)
	var answer []byte
	if err := c.conn.Invoke(ctx, c.protocol.Method, c.request, &answer, grpc.ForceCodecV2(raw{})); err != nil {
		return 0, err
	}
	return c.protocol.denied(answer, len(keys))
}

// raw passes bytes through as they are, in the name of protobuf.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "proto" }

// errAnswer is the error for an answer that does not say what it should.
var errAnswer = errors.New("the answer is not that of the protocol")

// each calls f for every field of a message.
func each(b []byte, f func(number protowire.Number, varint uint64, bytes []byte)) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errAnswer
		}
		b = b[n:]
		var varint uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, typ, b)
		}
		if n < 0 {
			return errAnswer
		}
		b = b[n:]
		f(number, varint, bytes)
	}
	return nil
}

// results reads a message whose results are the repeated field of that number: one tells whether
// a result is a denial. There must be n.
func results(b []byte, number protowire.Number, n int, one func([]byte) (denied bool, err error)) (denied int, err error) {
	got := 0
	read := each(b, func(at protowire.Number, _ uint64, result []byte) {
		if at != number {
			return
		}
		got++
		d, e := one(result)
		if e != nil && err == nil {
			err = e
		}
		if d {
			denied++
		}
	})
	switch {
	case read != nil:
		return 0, read
	case err != nil:
		return 0, err
	case got != n:
		return 0, fmt.Errorf("%d answers to %d questions", got, n)
	}
	return denied, nil
}

// size is the length of a field of that many bytes, whose number is below 16.
func size(n int) int { return 1 + protowire.SizeBytes(n) }

// text appends a field that is a string.
func text(b []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

// number appends a field that is a number.
func number(b []byte, at protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, at, protowire.VarintType), n)
}

// head begins a message of n bytes in a field.
func head(b []byte, at protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, at, protowire.BytesType), uint64(n))
}
