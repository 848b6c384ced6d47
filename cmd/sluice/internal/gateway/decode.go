package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// maxDepth is how deep a file may nest; a configuration needs four levels.
const maxDepth = 16

// A decoder reads values out of YAML nodes, and remembers where each stands. It
// goes on after a problem, so that one reading reports all of them. It never
// follows an alias.
type decoder struct {
	problems []problem
	lines    map[string]int // of each field, by its path
}

func (d *decoder) report(at, format string, args ...any) {
	d.problems = append(d.problems, problem{d.line(at), at, fmt.Sprintf(format, args...)})
}

// line returns the line of the field at path at, or else of what it is in.
func (d *decoder) line(at string) int {
	for {
		if n, ok := d.lines[at]; ok {
			return n
		}
		i := strings.LastIndexAny(at, ".[")
		if i < 0 {
			return 0
		}
		at = at[:i]
	}
}

// document returns the one YAML document in data, or reports why there is none.
func (d *decoder) document(data []byte) *yaml.Node {
	switch {
	case len(data) > maxFileSize:
		d.report("", "the file is too large: it may have %d bytes", maxFileSize)
		return nil
	case !utf8.Valid(data):
		d.report("", "not UTF-8 text")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		d.report("", "cannot read YAML: %v", err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil && !errors.Is(err, io.EOF) {
		d.notYAML(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		d.problems = append(d.problems, problem{line: second.Line, text: "a second YAML document begins here; a configuration has one"})
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.notYAML(err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode} // empty: the defaults
	}
	return doc.Content[0]
}

func (d *decoder) notYAML(err error) {
	p := problem{text: "not YAML: " + err.Error()}
	var at *yaml.LoadError
	if errors.As(err, &at) {
		p = problem{line: at.Mark.Line, text: "not YAML: " + at.Message}
	}
	d.problems = append(d.problems, p)
}

// fields reads a mapping that may have the named fields, and returns them by
// their paths. It is nil when n is no mapping.
func (d *decoder) fields(n *yaml.Node, at string, names ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		d.lines[at] = n.Line
		d.report(at, "must be a mapping, is %s", kindOf(n))
		return nil
	}
	found := make(map[string]*yaml.Node, len(names))
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := join(at, name.Value)
		first, twice := d.lines[path]
		d.lines[path] = name.Line
		switch {
		case name.Kind != yaml.ScalarNode || !slices.Contains(names, name.Value):
			d.report(path, "unknown field; the fields here are %s", strings.Join(names, ", "))
		case twice:
			d.report(path, "is given twice, first on line %d", first)
		default:
			found[path] = value
		}
	}
	return found
}

// items reads a list; nil has none.
func (d *decoder) items(n *yaml.Node, at string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.report(at, "must be a list, is %s", kindOf(n))
		return nil
	}
	for i, item := range n.Content {
		d.lines[index(at, i)] = item.Line
	}
	return n.Content
}

// text reads a text if it is there, and reports whether it is one.
func (d *decoder) text(f map[string]*yaml.Node, at string, to *string) bool {
	n := f[at]
	switch {
	case n == nil:
		return false
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "":
		d.report(at, "must be text, is %s", kindOf(n))
		return false
	}
	*to = n.Value
	return true
}

func (d *decoder) boolean(f map[string]*yaml.Node, at string, to *bool) {
	n := f[at]
	if n == nil {
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		d.report(at, "must be true or false, is %s", kindOf(n))
		return
	}
	*to = strings.EqualFold(n.Value, "true")
}

// join returns the path of a field of the mapping at path at.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// kindOf says, after "is", what a value is.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias, which a configuration cannot have"
	case n.Tag == "!!null" || n.Value == "":
		return "empty"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!str":
		return "text"
	}
	return "of another type"
}
