package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// MaxFileSize is the largest policy file, in bytes.
const MaxFileSize = 32 << 20

// The YAML library keeps hundreds of bytes for each value of a file while it is
// read, so size alone does not bound the memory that a file of short values takes.
const (
	maxDepth      = 16        // how deep a file may nest; a policy needs five levels
	maxSeparators = 1_500_000 // commas, colons, brackets and line ends; a key has about eight
)

// Load reads the policy file at path. Every line of its error begins with path;
// what is wrong inside the file is an [*Error].
func Load(path string) (*Policy, error) {
	data, err := readFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p, err := Parse(data)
	var problems *Error
	if errors.As(err, &problems) {
		problems.Path = path
	}
	return p, err
}

// readFile reads at most one byte more than [Parse] takes, whatever path is.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

// Parse reads a policy file. Its error is an [*Error] with every problem found.
//
// It is strict: an unknown field, a field given twice, a value of another type
// or out of range, a second YAML document and an alias are all errors.
func Parse(data []byte) (*Policy, error) {
	var d decoder
	if root := d.document(data); root != nil {
		if p := d.policy(root); d.err() == nil {
			p.fingerprint = p.computeFingerprint()
			return p, nil
		}
	}
	return nil, d.err()
}

// document returns the one YAML document in data, or reports why there is none.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > MaxFileSize {
		d.report(0, "", "the file is too large: it must have at most %d bytes", MaxFileSize)
		return nil
	}
	if !d.plainText(data) {
		return nil
	}
	limits := yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth)))
	loader, err := yaml.NewLoader(bytes.NewReader(data), limits)
	if err != nil {
		d.report(0, "", "cannot read YAML")
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		d.report(1, "", "the file is empty")
		return nil
	} else if err != nil {
		d.notYAML(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		d.report(second.Line, "", "a second YAML document begins here; a policy file has one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.notYAML(err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" {
		d.report(1, "", "the file is empty")
		return nil
	}
	return doc.Content[0]
}

// plainText tells whether data can be given to the YAML library, or reports why
// not: where a byte is wrong, it does not say on which line.
func (d *decoder) plainText(data []byte) bool {
	line, separators := 1, 0
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			d.report(line, "", "not UTF-8 text")
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == '\uFFFE', r == '\uFFFF':
			d.report(line, "", "the character %U cannot be in a policy file", r)
			return false
		case r == '\n':
			line++
			separators++
		case r == ',', r == ':', r == '[', r == '{':
			separators++
		}
	}
	if separators > maxSeparators {
		d.report(0, "", "the file has too many values: it must have at most %d commas, colons, brackets and line ends", maxSeparators)
		return false
	}
	return true
}

// notYAML reports what the YAML library found wrong. Up to the parser its
// messages are fixed texts; later ones quote the file, and are left out.
func (d *decoder) notYAML(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		d.report(0, "", "not YAML")
		return
	}
	switch at.Stage {
	case yaml.ReaderStage, yaml.ScannerStage, yaml.ParserStage:
		where := ""
		if at.ContextMark.Line > 0 && at.ContextMark.Line < at.Mark.Line {
			where = fmt.Sprintf(" (%s, from line %d)", at.ContextMsg, at.ContextMark.Line)
		}
		d.report(at.Mark.Line, "", "not YAML: %s%s", at.Message, where)
	case yaml.ComposerStage:
		d.report(at.Mark.Line, "", "not YAML: an alias without its anchor (and a policy file cannot have aliases)")
	default:
		d.report(at.Mark.Line, "", "not YAML")
	}
}
