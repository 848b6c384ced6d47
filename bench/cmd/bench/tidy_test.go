package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// What servers wrote is kept if a run failed, and only then: it is what tells why.
func TestLogsOfAFailedRunAreKept(t *testing.T) {
	for _, c := range []struct {
		err  error
		kept bool
	}{{nil, false}, {context.Canceled, false}, {errors.New("a node has ended"), true}} {
		dir := t.TempDir()
		err := tidy(dir, c.err)
		if entries, _ := filepath.Glob(dir); (len(entries) == 1) != c.kept {
			t.Errorf("%v: there is %q, want it kept: %v", c.err, entries, c.kept)
		}
		if !errors.Is(err, c.err) || c.kept && !strings.Contains(err.Error(), dir) {
			t.Errorf("%v became %v", c.err, err)
		}
	}
}
