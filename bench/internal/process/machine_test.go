package process

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("cpu  100 1 10 5000 7 2 3 4 50 6\ncpu0 1 1 1 1 1 1 1 1 1 1\n"))
	if want := 1200 * time.Millisecond; err != nil || got != want {
		t.Errorf("parseStat = %v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3", "cpu a b c d e f g h i"} {
		if got, err := parseStat([]byte(wrong)); err == nil {
			t.Errorf("parseStat(%q) = %v, want an error", wrong, got)
		}
	}
}
