package main

import (
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/gateway"
)

func TestExcess(t *testing.T) {
	for _, c := range []struct {
		name            string
		allowance       allowance
		f               audit.Finding
		orphan          bool
		over, uncounted uint64
	}{
		{"nothing is nothing", nothing, audit.Finding{Over: 1, Uncounted: 2, Excused: 9}, false, 1, 2},
		{"as much as was answered last", lostAnswers, audit.Finding{Over: 3, Uncounted: 3, Excused: 3}, false, 0, 0},
		{"more than was answered last", lostAnswers, audit.Finding{Over: 4, Uncounted: 5, Excused: 3}, false, 1, 2},
		{"a paused node's last answers were not heard of", lateAnswers, audit.Finding{Over: 4, Excused: 3}, false, 1, 0},
		{"and are not forgotten", lateAnswers, audit.Finding{Uncounted: 2, Excused: 3}, false, 0, 2},
		{"a split doubles", twice, audit.Finding{Over: limit}, false, 0, 0},
		{"and no more", twice, audit.Finding{Over: limit + 1}, false, 1, 0},
		{"a split forgets nothing", twice, audit.Finding{Uncounted: 1}, false, 0, 1},
		{"an orphan starts again", orphans, audit.Finding{Over: 55, Uncounted: 20, Degraded: true}, true, 0, 0},
		{"but says so", orphans, audit.Finding{Over: 55, Uncounted: 20}, true, 55, 20},
		{"no other key does", orphans, audit.Finding{Over: 5, Uncounted: 2, Excused: 1, Degraded: true}, false, 4, 1},
	} {
		over, uncounted := bounds{over: c.allowance}.excess(c.f, c.orphan, limit)
		if over != c.over || uncounted != c.uncounted {
			t.Errorf("%s: %d over and %d uncounted, want %d and %d", c.name, over, uncounted, c.over, c.uncounted)
		}
	}
}

func TestJudge(t *testing.T) {
	quick := crashed.with(func(b *bounds) { b.agreed = 10 * time.Second })
	for _, c := range []struct {
		bounds bounds
		r      result
		want   string // "": all holds
	}{
		{planned, result{}, ""},
		{planned, result{Early: 1}, "falsely denied: 1 units, though"},
		{planned, result{Failed: [groups]int{impatient: 1}}, "failed at 50 ms"},
		{planned, result{Failed: [groups]int{patient: 1}}, "failed at 5 s"},
		{planned, result{OverExcess: 1}, "over-admitted: 1 "},
		{planned, result{UncountedExcess: 1}, "forgotten: 1 "},
		{planned, result{Overcounted: 1}, "out of nothing: 1 "},
		{planned, result{Leases: gateway.Leases{Held: 5}}, ""},
		{planned, result{Leases: gateway.Leases{Left: 1}}, "0 lost, 0 doubled, 1 left"},
		{quick, result{Early: 7, Failed: [groups]int{impatient: 9}, Answered: time.Second, Agreed: 10 * time.Second}, ""},
		{quick, result{Denied: 1}, "falsely denied: 1 "},
		{quick, result{Answered: never}, "answered after never, not 1s"},
		{quick, result{Agreed: 11 * time.Second}, "agreed after 11s, not 10s"},
	} {
		broken, slow := c.bounds.judge(&c.r)
		broken = append(broken, slow...)
		if c.want == "" && len(broken) > 0 || c.want != "" && (len(broken) != 1 || !strings.Contains(broken[0], c.want)) {
			t.Errorf("%+v: %q, want %q", c.r, broken, c.want)
		}
	}
}

// Every event keeps the promises that hold always: nothing here lets over-admission pass
// without saying whose it is.
func TestEventsAreBounded(t *testing.T) {
	short := 0
	for _, e := range events {
		if e.bounds.over == twice && e.minMembers > 1 {
			t.Errorf("%s: a side that refuses admits nothing twice", e.name)
		}
		if e.bounds.over == nothing && e.bounds.agreed == 0 && !e.bounds.failed5s {
			t.Errorf("%s has no bound on failed calls", e.name)
		}
		if e.short {
			if short++; e.namespaces {
				t.Errorf("%s is part of the short form and needs namespaces", e.name)
			}
		}
	}
	if short < 4 {
		t.Errorf("the short form has %d events, want 4", short)
	}
}
