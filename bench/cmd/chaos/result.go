package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/stat"
)

// A result is what came of playing an event once, in units, calls and nanoseconds.
type result struct {
	Event      string        `json:"event"`
	Window     time.Duration `json:"window_ns"`
	Repetition int           `json:"repetition"`

	Over            uint64         `json:"over_admitted"`
	OverExcess      uint64         `json:"over_admitted_beyond_bound"`
	Excused         uint64         `json:"last_answers"`
	Early           uint64         `json:"denied_early"`
	Denied          uint64         `json:"denied_early_beyond_doubt"`
	Uncounted       uint64         `json:"allowed_not_counted"`
	UncountedExcess uint64         `json:"allowed_not_counted_beyond_bound"`
	Overcounted     uint64         `json:"counted_not_asked"`
	Orphans         int            `json:"keys_without_holder_and_copy"`
	Calls           [groups]int    `json:"calls"`
	Failed          [groups]int    `json:"failed"`
	P99             time.Duration  `json:"p99_ns"`
	Longest         time.Duration  `json:"longest_ns"`
	Answered        time.Duration  `json:"all_answered_after_ns"`
	Agreed          time.Duration  `json:"all_agreed_after_ns"`
	Others          float64        `json:"processors_of_other_programs"` // share; -1: not known
	Stalled         time.Duration  `json:"machine_stood_still_ns"`       // at most; -1: not known
	Leases          gateway.Leases `json:"leases"`
	Broken          []string       `json:"broken"`
	Slow            []string       `json:"slow,omitempty"` // bounds on time that the short form does not judge by
	Details         []string       `json:"details,omitempty"`
	Logs            string         `json:"logs,omitempty"`
}

// maxErrors is how many errors of failed calls are told.
const maxErrors = 3

// clock sums up how calls went: whether they failed, ever, and how long those of the
// patient gateways took that began in a span of time and waited for an answer.
func (s *stage) clock(from, to time.Duration) {
	r := &s.result
	var latencies []time.Duration
	for _, c := range s.Log.Calls() {
		if c.Group == gateway.Bulk {
			continue
		}
		r.Calls[c.Group]++
		if c.Outcome == audit.Failed {
			if r.Failed[c.Group]++; r.Failed[c.Group] <= maxErrors {
				r.Details = append(r.Details, fmt.Sprintf("failed at %v: %s, held by %v before, asked %v after the event began, failed %v later: %v",
					deadlines[c.Group], s.Keys.Names[c.Key], s.before[c.Key], (c.Began-from).Round(time.Millisecond), (c.Ended-c.Began).Round(time.Millisecond), c.Err))
			}
		}
		if c.Group == patient && !c.Cached && c.Began >= from && c.Began < to {
			latencies = append(latencies, c.Ended-c.Began)
		}
	}
	slices.Sort(latencies)
	r.P99 = stat.Quantile(latencies, 0.99)
	r.Longest = stat.Quantile(latencies, 1)
}

// timelineKeys bounds how many keys the timeline tells of.
const timelineKeys = 20

// writeTimeline writes all that was tried for the keys with findings, beside the logs.
func (s *stage) writeTimeline(findings []audit.Finding, after []gateway.Sight, from time.Duration) error {
	file, err := os.Create(filepath.Join(s.dir, "timeline.txt"))
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	fmt.Fprintf(w, "times are in seconds after the event began, at %s\n", time.Now().Add(from-s.Log.Now()).Format(gateway.ClockFormat))
	told := 0
	for _, f := range findings {
		if f.Over+f.Early+f.Uncounted+f.Overcounted == 0 || told == timelineKeys {
			continue
		}
		told++
		fmt.Fprintf(w, "\n%s %+v\n  before: %v, copies %v\n  after: %v, copies %v, used %d\n", s.Keys.Names[f.Key], f,
			s.before[f.Key], s.before[f.Key].Copies, after[f.Key], after[f.Key].Copies, after[f.Key].Count.Used)
		for _, t := range s.Log.Tries() {
			if t.Key == f.Key {
				fmt.Fprintf(w, "  %9.4f %s\n", (t.Sent - from).Seconds(), tryLine(t, from))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}

func tryLine(t audit.Try, from time.Duration) string {
	if t.Answered == audit.Never {
		return fmt.Sprintf("%d to %s, no answer", t.Units, t.Node)
	}
	outcome := map[audit.Outcome]string{audit.Allowed: "allowed", audit.Denied: "denied", audit.Failed: "error"}[t.Outcome]
	if t.Degraded {
		outcome += ", degraded"
	}
	return fmt.Sprintf("%d to %s, at %.4f %s", t.Units, t.Node, (t.Answered - from).Seconds(), outcome)
}
