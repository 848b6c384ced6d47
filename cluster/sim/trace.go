package sim

import (
	"fmt"
	"strings"
	"time"
)

// trace keeps what happened last, for people.
type trace struct {
	lines []string
	most  int
}

func (w *world) note(format string, args ...any) {
	if w.trace == nil {
		return
	}
	t := w.trace
	t.lines = append(t.lines, fmt.Sprintf("%11v  ", time.Duration(w.now).Round(time.Microsecond))+fmt.Sprintf(format, args...))
	if len(t.lines) > 2*t.most {
		t.lines = append(t.lines[:0], t.lines[len(t.lines)-t.most:]...)
	}
}

func (t *trace) String() string { return strings.Join(t.lines, "\n") }
