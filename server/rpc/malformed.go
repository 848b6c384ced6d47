package rpc

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/overten/sluice/limiter/contract"
)

// malformed is the error for bytes that are no message of type m. It names the field at
// fault if there is one, which protobuf's own error does not do for nested messages.
func malformed(m protoreflect.MessageDescriptor, b []byte) error {
	at, what := locate(m, b, place{})
	if what == "" {
		what = notA(m)
	}
	if at.pointer == "" {
		at.pointer = "/"
	}
	return badRequest(contract.InvalidRequest, at.pointer, at.path, what)
}

func notA(m protoreflect.MessageDescriptor) string { return fmt.Sprintf("is not a %s", m.FullName()) }

// place is where a field is, in both notations.
type place struct{ pointer, path string }

func (p place) field(name string) place {
	path := name
	if p.path != "" {
		path = p.path + "." + name
	}
	return place{p.pointer + "/" + name, path}
}

func (p place) item(i int) place {
	return place{fmt.Sprintf("%s/%d", p.pointer, i), fmt.Sprintf("%s[%d]", p.path, i)}
}

// locate returns the first place in b that does not parse as a message of type m, and
// what is wrong with it. what is "" if nothing is.
func locate(m protoreflect.MessageDescriptor, b []byte, at place) (where place, what string) {
	seen := make(map[protowire.Number]int) // of repeated fields
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			return at, notA(m)
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		fd := m.Fields().ByNumber(num)
		if fd == nil {
			if n < 0 {
				return at, notA(m)
			}
			b = b[n:]
			continue
		}
		here := at.field(string(fd.Name()))
		if fd.IsList() {
			here = here.item(seen[num])
			seen[num]++
		}
		if n < 0 {
			return here, "ends in the middle of its value"
		}
		if typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			switch fd.Kind() {
			case protoreflect.StringKind:
				if !utf8.Valid(v) {
					return here, "is not valid UTF-8"
				}
			case protoreflect.MessageKind:
				if where, what := locate(fd.Message(), v, here); what != "" {
					return where, what
				}
			}
		}
		b = b[n:]
	}
	return at, ""
}
