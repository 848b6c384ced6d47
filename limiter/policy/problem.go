package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxProblems is how many problems of one file are reported; more are counted.
const maxProblems = 20

// A Problem is one thing that is wrong in a policy file.
type Problem struct {
	Line  int    // from 1; 0 when it concerns the file as a whole
	Field string // dotted path, as tiers.free.windows[0].limit; empty when it concerns no field
	Text  string // what must be, and what is
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	return b.String() + p.Text
}

// An Error lists what is wrong in a policy file, in the order of its lines. It
// never holds text that could be a raw key.
type Error struct {
	Path     string // of the file; empty for [Parse]
	Problems []Problem
	Omitted  int // how many more there are
}

// Error returns one line a problem, each beginning with the path.
func (e *Error) Error() string {
	prefix := ""
	if e.Path != "" {
		prefix = e.Path + ": "
	}
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, prefix+p.String())
	}
	if e.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("%sand %d more", prefix, e.Omitted))
	}
	return strings.Join(lines, "\n")
}

// problems collects what is wrong while a file is read.
type problems struct {
	list    []Problem
	omitted int
}

func (p *problems) report(line int, at, format string, args ...any) {
	if len(p.list) == maxProblems {
		p.omitted++
		return
	}
	p.list = append(p.list, Problem{Line: line, Field: at, Text: fmt.Sprintf(format, args...)})
}

// count returns how many problems there are so far.
func (p *problems) count() int { return len(p.list) + p.omitted }

// err returns what was collected, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: p.list, Omitted: p.omitted}
}

// wordLike matches names that people give to fields and tiers: one word, or a
// few joined by _ or -, with at most one short number.
var wordLike = regexp.MustCompile(`^[A-Za-z][a-z_-]{0,19}[0-9]{0,4}[a-z_-]{0,4}$`)

// showable tells whether a name from the file may be repeated in an error.
// Somebody may have put a raw key where a name belongs, so a name that does not
// look like a word, or looks like a secret key, is shown by its position only.
func showable(name string) bool {
	lower := strings.ToLower(name)
	return wordLike.MatchString(name) && !strings.HasPrefix(lower, "sk_") && !strings.HasPrefix(lower, "sk-")
}

// kindOf says, after "is", what a value is. It never repeats the value.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which a policy file cannot have"
	}
	switch n.Tag {
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a date"
	}
	return "of another type"
}
