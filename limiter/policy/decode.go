package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A decoder reads values out of YAML nodes. It goes on after a problem, so that
// one reading reports all of them. It never follows an alias: each value is read
// where it stands, and reading takes time in proportion to the file.
type decoder struct {
	problems
}

// A field is one value of a mapping, with the line of its name.
type field struct {
	line  int
	value *yaml.Node
}

// fields reads a mapping that may have the named fields. ok is false when f is
// no mapping; problems with single fields leave it true.
func (d *decoder) fields(f field, at string, names ...string) (found map[string]field, ok bool) {
	n := f.value
	if n.Kind != yaml.MappingNode {
		d.wrongType(f, at, "a mapping")
		return nil, false
	}
	found = make(map[string]field, len(names))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode || !slices.Contains(names, name.Value) {
			d.unknown(name, at, names)
			continue
		}
		if first, twice := found[name.Value]; twice {
			d.report(name.Line, join(at, name.Value), "is given twice, first on line %d", first.line)
			continue
		}
		found[name.Value] = field{line: name.Line, value: value}
	}
	return found, true
}

// unknown reports a field that is not among names. What stands there in an entry
// of the directory may well be a raw key, so there its name is never repeated.
func (d *decoder) unknown(name *yaml.Node, at string, names []string) {
	if !strings.HasPrefix(at, "keys[") && name.Kind == yaml.ScalarNode && showable(name.Value) {
		at = join(at, name.Value)
	}
	d.report(name.Line, at, "unknown field; the fields here are %s", strings.Join(names, ", "))
}

// items returns the items of a list.
func (d *decoder) items(f field, at string) ([]*yaml.Node, bool) {
	if f.value.Kind != yaml.SequenceNode {
		d.wrongType(f, at, "a list")
		return nil, false
	}
	return f.value.Content, true
}

// maxDigits is the length of the longest number that an error repeats: a longer
// one may be a key.
const maxDigits = 12

// integer reads a whole number from lo to hi; 0 if it reports that it is none.
func (d *decoder) integer(f field, at string, lo, hi int64) int64 {
	v := f.value
	if v.Kind != yaml.ScalarNode || v.Tag != "!!int" && v.Tag != "!!float" {
		d.wrongType(f, at, "a whole number")
		return 0
	}
	digits, negative := strings.CutPrefix(v.Value, "-")
	n, ok := parseDigits(digits)
	if negative {
		n = -n
	}
	switch {
	case len(digits) > maxDigits && strings.Trim(digits, "0123456789") == "":
		d.report(f.line, at, "must be from %d to %d, is far beyond", lo, hi)
	case !ok:
		d.report(f.line, at, "must be a whole number in decimal digits")
	case n < lo || n > hi:
		d.report(f.line, at, "must be from %d to %d, is %d", lo, hi, n)
	default:
		return n
	}
	return 0
}

// text reads a text.
func (d *decoder) text(f field, at string) (string, bool) {
	if f.value.Kind != yaml.ScalarNode || f.value.Tag != "!!str" {
		d.wrongType(f, at, "text")
		return "", false
	}
	return f.value.Value, true
}

// boolean reads true or false; false after reporting that it is neither.
func (d *decoder) boolean(f field, at string) bool {
	if f.value.Kind == yaml.ScalarNode && f.value.Tag == "!!bool" {
		if b, err := strconv.ParseBool(f.value.Value); err == nil {
			return b
		}
	}
	d.wrongType(f, at, "true or false")
	return false
}

func (d *decoder) wrongType(f field, at, want string) {
	d.report(f.line, at, "must be %s, is %s", want, kindOf(f.value))
}

// join returns the path of a field of the mapping at path at.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// index returns the path of an item of the list at path at.
func index(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) }
