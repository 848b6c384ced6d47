package main

import (
	"context"
	"errors"
	"os"
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
		if _, gone := os.Stat(dir); (gone == nil) != c.kept {
			t.Errorf("%v: kept %v, want %v", c.err, gone == nil, c.kept)
		}
		if !errors.Is(err, c.err) || c.kept && !strings.Contains(err.Error(), dir) {
			t.Errorf("%v became %v", c.err, err)
		}
	}
}
