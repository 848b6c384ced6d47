package main

import (
	"testing"
	"time"
)

func TestAnsweredAfter(t *testing.T) {
	const ms = time.Millisecond
	look := func(at time.Duration, complete bool) sighting {
		return sighting{began: at * ms, ended: (at + 10) * ms, complete: complete}
	}
	for _, c := range []struct {
		name  string
		seen  []sighting
		marks []time.Duration
		want  time.Duration
	}{
		{"always", []sighting{look(0, true), look(40, true), look(100, true)}, []time.Duration{50 * ms}, 0},
		{"nothing before counts", []sighting{look(0, false), look(100, true)}, []time.Duration{50 * ms}, 0},
		{"soon", []sighting{look(60, false), look(100, true), look(140, true)}, []time.Duration{50 * ms}, 60 * ms},
		{"it was under way", []sighting{look(45, false), look(100, true)}, []time.Duration{50 * ms}, 60 * ms},
		{"not for good", []sighting{look(60, false), look(100, true), look(140, false), look(180, true)}, []time.Duration{50 * ms}, 140 * ms},
		{"never", []sighting{look(60, true), look(100, false)}, []time.Duration{50 * ms}, never},
		{"the slowest of two", []sighting{look(60, false), look(70, true), look(510, false), look(600, true)}, []time.Duration{50 * ms, 500 * ms}, 110 * ms},
		{"after the end nothing counts", []sighting{look(60, true), look(1000, false)}, []time.Duration{50 * ms}, 0},
	} {
		if got := answeredAfter(c.seen, c.marks, 1000*ms); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
