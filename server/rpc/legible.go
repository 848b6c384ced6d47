package rpc

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxNesting is how deep in a message text is looked for.
const maxNesting = 32

// substitute stands for what could not be read: it is ASCII's character for that, and in no key.
const substitute = 0x1a

// legible makes all text of b, a message of type m, UTF-8: protobuf refuses a message as a whole for one
// that is not. What is no UTF-8 it overwrites in place. It returns false if there was nothing to do.
func legible(m protoreflect.MessageDescriptor, b []byte) bool { return legibleAt(m, b, maxNesting) }

func legibleAt(m protoreflect.MessageDescriptor, b []byte, depth int) (changed bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return changed
		}
		length := protowire.ConsumeFieldValue(num, typ, b[n:])
		if length < 0 {
			return changed
		}
		fd := m.Fields().ByNumber(num)
		if typ == protowire.BytesType && fd != nil {
			v, _ := protowire.ConsumeBytes(b[n:])
			switch {
			case fd.Kind() == protoreflect.StringKind:
				changed = overwrite(v) || changed
			case fd.Kind() == protoreflect.MessageKind && depth > 0:
				changed = legibleAt(fd.Message(), v, depth-1) || changed
			}
		}
		b = b[n+length:]
	}
	return changed
}

// overwrite replaces the bytes of a text that are no UTF-8.
func overwrite(text []byte) (changed bool) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			text[0], changed = substitute, true
		}
		text = text[size:]
	}
	return changed
}
