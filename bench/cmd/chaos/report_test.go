package main

import (
	"strings"
	"testing"
	"time"
)

func TestTableShowsTheWorst(t *testing.T) {
	rows := rowsOf([]result{
		{Event: "kill", Window: 10 * time.Minute, Over: 1, Excused: 4, P99: time.Second, Answered: 620 * time.Millisecond},
		{Event: "kill", Window: 10 * time.Minute, Over: 3, Excused: 2, Failed: [groups]int{impatient: 7}, Answered: never, Broken: []string{"answered"}},
		{Event: "kill", Window: time.Minute},
	})
	var b strings.Builder
	writeTable(&b, rows)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	worst, minute := strings.Fields(lines[len(lines)-2]), strings.Fields(lines[len(lines)-1])
	if got := strings.Join(worst, " "); got != "kill 10m 2 3 (4) 0 (0) 0 7 1s 0s never 0s 0 / 0 0 / 0 / 0 0 % 0s BROKEN" {
		t.Errorf("the first row is %q", got)
	}
	if minute[1] != "1m" || minute[2] != "1" || minute[len(minute)-1] != "holds" {
		t.Errorf("the second row is %q", minute)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		never: "never", 0: "0s", 4123 * time.Microsecond: "4.12ms", 65400 * time.Microsecond: "65ms",
		1234 * time.Millisecond: "1.23s", time.Minute: "1m", 10 * time.Minute: "10m", 62 * time.Second: "1m2s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d) = %s, want %s", d, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-short", "-keys", "500", "-events", "kill|stop"}, nil)
	if err != nil || o.keys != 500 || o.repeat != 1 || o.minute != 0 || o.pause != 3*time.Second || o.seed == 0 {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if !o.events.MatchString("kill") || o.events.MatchString("kill-restart") {
		t.Errorf("the pattern %v matches parts of names", o.events)
	}
	for _, args := range [][]string{{"-repeat", "0", "-minute", "0"}, {"-rate", "0"}, {"-keys", "1"}, {"-o", "xml"}, {"-events", "("}} {
		if _, err := parse(args, nil); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("parse(%q): error %v, want one that names it", args, err)
		}
	}
}
