package rpc

import (
	"fmt"
	"sync"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// Requests with an API key are parsed here and not by protobuf, which would copy each
// string to memory of its own: their strings are the bytes of the request, so that whoever
// wipes these has wiped them all, also those of fields that were given twice or should not be
// there. Those strings must not outlive the call.
//
// Checks are parsed into types of ours, without memory of their own for each. What they mean is
// protobuf's, field by field: the tests compare the two.

// A check is one CheckRequest.
type check struct {
	key, tier string
	cost      uint32
	costed    bool // a cost was given
	explain   bool
}

// The fields of a CheckRequest as one-byte tags.
const (
	keyTag     = 1<<3 | byte(protowire.BytesType)
	tierTag    = 2<<3 | byte(protowire.BytesType)
	costTag    = 3<<3 | byte(protowire.VarintType)
	explainTag = 4<<3 | byte(protowire.VarintType)
)

// parse takes b into c, which is empty. It returns false if b is no CheckRequest.
func (c *check) parse(b []byte) bool {
	for len(b) > 0 {
		// Nearly all fields: a tag and a length or a value of one byte each.
		if len(b) > 1 && b[1] < 0x80 {
			small := b[1]
			switch rest := b[2:]; b[0] {
			case keyTag, tierTag:
				if int(small) > len(rest) || !utf8.Valid(rest[:small]) {
					return false
				}
				if b[0] == keyTag {
					c.key = view(rest[:small])
				} else {
					c.tier = view(rest[:small])
				}
				b = rest[small:]
				continue
			case costTag:
				c.cost, c.costed = uint32(small), true
				b = rest
				continue
			case explainTag:
				c.explain = small != 0
				b = rest
				continue
			}
		}
		f, n := consumeField(b)
		if n < 0 || !f.text(1, &c.key) || !f.text(2, &c.tier) {
			return false
		}
		if f.is(3, protowire.VarintType) {
			c.cost, c.costed = uint32(f.varint), true
		}
		f.bool(4, &c.explain)
		b = b[n:]
	}
	return true
}

// view returns b as a string that shares its memory.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// A batch is one CheckBatchRequest or CheckStreamRequest.
type batch struct {
	sequence  uint64
	timeoutMs uint32
	checks    []check
}

// parse takes b, a message whose checks have the given number, into m, which is empty. other
// is called for every field that is none of the checks. It returns false if b is no such
// message. An item of two bytes takes twenty times as much when it is parsed: of more than
// maxBatch the items are only counted.
func (m *batch) parse(b []byte, number protowire.Number, other func(*wireField)) (items int, ok bool) {
	tag := byte(number)<<3 | byte(protowire.BytesType)
	ok = true
	for len(b) > 0 {
		var item []byte
		if len(b) > 1 && b[0] == tag && b[1] < 0x80 && int(b[1])+2 <= len(b) {
			n := int(b[1]) + 2
			item, b = b[2:n], b[n:]
		} else {
			f, n := consumeField(b)
			if n < 0 {
				return items, false
			}
			b = b[n:]
			if !f.is(number, protowire.BytesType) {
				other(&f)
				continue
			}
			item = f.bytes
		}
		if items++; items > maxBatch || !ok {
			continue
		}
		if m.checks == nil { // room for as many as there are if all are as long
			m.checks = newChecks(min(len(b)/(len(item)+2)+1, maxBatch))
		}
		m.checks = append(m.checks, check{})
		ok = m.checks[len(m.checks)-1].parse(item)
	}
	return items, ok
}

// keptChecks bounds the memory for checks that is kept when a batch is over: for so many.
const keptChecks = 4096

var spentChecks sync.Pool // of *[]check, of which all are zero

// newChecks returns an empty list with room for so many checks.
func newChecks(most int) []check {
	if kept, _ := spentChecks.Get().(*[]check); kept != nil && cap(*kept) >= most {
		return (*kept)[:0]
	}
	return make([]check, 0, most)
}

// forget makes m empty, as its strings do not outlive the call, and leaves its memory to the next batch.
func (m *batch) forget() {
	clear(m.checks)
	if n := cap(m.checks); n > 0 && n <= keptChecks {
		checks := m.checks[:0]
		spentChecks.Put(&checks)
	}
	*m = batch{}
}

// Bounds on the length of lists.
const (
	maxBatch    = 100_000 // checks in one call
	maxRenewals = 10_000  // leases in one call
)

// tooMany is the error for a list of more items than are allowed.
func tooMany(list string, items, most int) error {
	return field{name: list}.outOfRange(fmt.Sprintf("has %d items, must have at most %d", items, most))
}

// unmarshal parses b into m, which is empty. The error names the field at fault if one
// can be told.
func unmarshal(b []byte, m proto.Message) error {
	var ok bool
	switch m := m.(type) {
	case *sluicev1.AcquireRequest:
		ok = parseAcquire(b, m)
	case *sluicev1.RenewRequest:
		// Counted before they are parsed, as one of two bytes takes fifty times as much then.
		if n := itemsOf(b, 1); n > maxRenewals {
			return tooMany("leases", n, maxRenewals)
		}
		ok = proto.Unmarshal(b, m) == nil
	default:
		ok = proto.Unmarshal(b, m) == nil
	}
	if !ok {
		return malformed(m.ProtoReflect().Descriptor(), b)
	}
	return nil
}

// itemsOf returns how many messages or strings the field of that number has.
func itemsOf(b []byte, number protowire.Number) (n int) {
	parse(b, func(f wireField) bool {
		if f.is(number, protowire.BytesType) {
			n++
		}
		return true
	})
	return n
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
		f, n := consumeField(b)
		if n < 0 || !each(f) {
			return false
		}
		b = b[n:]
	}
	return true
}

// consumeField returns the first field of b and its length, which is negative if there is none.
func consumeField(b []byte) (f wireField, n int) {
	var tag int
	if f.number, f.typ, tag = consumeTag(b); tag < 0 {
		return f, -1
	}
	b = b[tag:]
	switch f.typ {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(f.number, f.typ, b)
	}
	if n < 0 {
		return f, -1
	}
	return f, tag + n
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
	*to = view(f.bytes)
	return utf8.Valid(f.bytes)
}
