package rpc

import (
	"fmt"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// unmarshal parses b into m, which is empty. The error names the field at fault if one
// can be told.
//
// Requests with an API key are parsed here and not by protobuf, which would copy each
// string to memory of its own: their strings are the bytes of b, so that whoever wipes b
// has wiped them all, also those of fields that were given twice or should not be there.
// Those strings must not outlive the call.
func unmarshal(b []byte, m proto.Message) error {
	if err := tooMany(b, m); err != nil {
		return err
	}
	var ok bool
	switch m := m.(type) {
	case *sluicev1.CheckRequest:
		ok = parseCheck(b, m)
	case *sluicev1.CheckBatchRequest:
		ok = parse(b, func(f wireField) bool { return f.check(1, &m.Checks) })
	case *sluicev1.CheckStreamRequest:
		ok = parse(b, func(f wireField) bool {
			f.uint64(1, &m.Sequence)
			f.uint32(2, &m.TimeoutMs)
			return f.check(3, &m.Checks)
		})
	case *sluicev1.AcquireRequest:
		ok = parseAcquire(b, m)
	default:
		ok = proto.Unmarshal(b, m) == nil
	}
	if !ok {
		return malformed(m.ProtoReflect().Descriptor(), b)
	}
	return nil
}

// Bounds on the length of lists.
const (
	maxBatch    = 100_000 // checks in one call
	maxRenewals = 10_000  // leases in one call
)

// tooMany is the error for a list that is too long. Lists are counted before they are
// parsed, as an item of two bytes takes fifty times as much when it is a message.
func tooMany(b []byte, m proto.Message) error {
	var list string
	var number protowire.Number
	most := maxBatch
	switch m.(type) {
	case *sluicev1.CheckBatchRequest:
		list, number = "checks", 1
	case *sluicev1.CheckStreamRequest:
		list, number = "checks", 3
	case *sluicev1.RenewRequest:
		list, number, most = "leases", 1, maxRenewals
	default:
		return nil
	}
	n := 0
	parse(b, func(f wireField) bool {
		if f.is(number, protowire.BytesType) {
			n++
		}
		return true
	})
	if n > most {
		return field{name: list}.outOfRange(fmt.Sprintf("has %d items, must have at most %d", n, most))
	}
	return nil
}

func parseCheck(b []byte, m *sluicev1.CheckRequest) bool {
	return parse(b, func(f wireField) bool {
		f.optional(3, &m.Cost)
		f.bool(4, &m.Explain)
		return f.text(1, &m.Key) && f.text(2, &m.Tier)
	})
}

func parseAcquire(b []byte, m *sluicev1.AcquireRequest) bool {
	return parse(b, func(f wireField) bool {
		f.uint32(5, &m.TtlMs)
		f.optional(6, &m.RequestCost)
		return f.text(1, &m.Key) && f.text(2, &m.Tier) && f.text(3, &m.RunId) && f.text(4, &m.TaskId)
	})
}

// wireField is one field as it stands on the wire.
type wireField struct {
	number protowire.Number
	typ    protowire.Type
	varint uint64 // the value, if typ is VarintType
	bytes  []byte // the value, if typ is BytesType
}

// parse calls each for every field of b, in order. It returns false if b is no message,
// or each says so.
func parse(b []byte, each func(wireField) bool) bool {
	for len(b) > 0 {
		var f wireField
		var n int
		if f.number, f.typ, n = consumeTag(b); n < 0 {
			return false
		}
		b = b[n:]
		switch f.typ {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.typ, b)
		}
		if n < 0 || !each(f) {
			return false
		}
		b = b[n:]
	}
	return true
}

// consumeTag is protowire's, without the numbers that no field may have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	number, typ, n := protowire.ConsumeTag(b)
	if number > protowire.MaxValidNumber {
		return 0, 0, -1
	}
	return number, typ, n
}

// The methods below take the field as the one of that number. Another field they leave
// alone, and so one of another type on the wire, as protobuf does.

func (f *wireField) is(number protowire.Number, typ protowire.Type) bool {
	return f.number == number && f.typ == typ
}

func (f *wireField) uint64(number protowire.Number, to *uint64) {
	if f.is(number, protowire.VarintType) {
		*to = f.varint
	}
}

func (f *wireField) uint32(number protowire.Number, to *uint32) {
	if f.is(number, protowire.VarintType) {
		*to = uint32(f.varint)
	}
}

func (f *wireField) optional(number protowire.Number, to **uint32) {
	if f.is(number, protowire.VarintType) {
		*to = proto.Uint32(uint32(f.varint))
	}
}

func (f *wireField) bool(number protowire.Number, to *bool) {
	if f.is(number, protowire.VarintType) {
		*to = protowire.DecodeBool(f.varint)
	}
}

// text returns false if the field is not valid UTF-8.
func (f *wireField) text(number protowire.Number, to *string) bool {
	if !f.is(number, protowire.BytesType) {
		return true
	}
	*to = unsafe.String(unsafe.SliceData(f.bytes), len(f.bytes))
	return utf8.Valid(f.bytes)
}

// check returns false if the field does not parse as a CheckRequest.
func (f *wireField) check(number protowire.Number, to *[]*sluicev1.CheckRequest) bool {
	if !f.is(number, protowire.BytesType) {
		return true
	}
	m := new(sluicev1.CheckRequest)
	*to = append(*to, m)
	return parseCheck(f.bytes, m)
}
