package rpc

import (
	"bytes"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxNesting is how deep in a message text is looked for.
const maxNesting = 32

// legible returns b, a message of type m, with U+FFFD in its texts wherever bytes are no UTF-8, for
// which protobuf refuses a message as a whole. It returns false if nothing is to be changed so.
func legible(m protoreflect.MessageDescriptor, b []byte) ([]byte, bool) {
	return legibleAt(m, b, maxNesting)
}

func legibleAt(m protoreflect.MessageDescriptor, b []byte, depth int) (out []byte, changed bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		length := protowire.ConsumeFieldValue(num, typ, b[n:])
		if length < 0 {
			return nil, false
		}
		field, fd := b[:n+length], m.Fields().ByNumber(num)
		b = b[n+length:]
		if typ == protowire.BytesType && fd != nil {
			v, _ := protowire.ConsumeBytes(field[n:])
			if v, ok := legibleValue(fd, v, depth); ok {
				out, changed = protowire.AppendBytes(protowire.AppendTag(out, num, typ), v), true
				continue
			}
		}
		out = append(out, field...)
	}
	return out, changed
}

// legibleValue returns the value of a field in the same way.
func legibleValue(fd protoreflect.FieldDescriptor, v []byte, depth int) ([]byte, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if utf8.Valid(v) {
			return nil, false
		}
		return bytes.ToValidUTF8(v, []byte(string(utf8.RuneError))), true
	case protoreflect.MessageKind:
		if depth > 0 {
			return legibleAt(fd.Message(), v, depth-1)
		}
	}
	return nil, false
}
