package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// legend explains the table's columns.
const legend = `over      units allowed beyond the limit in any window, all keys together; in brackets what lost pods
          had answered in their last moments, which is the bound where it stands
denied    units denied though callers had not been told of as many: where the machine has no time for
          its programs, tries are made again, and both may count; in brackets, and never to be, those
          that this cannot explain
failed    calls, deadline 5 s: by the gateway with the Go client / by the one behind the Service
longest   any call
formed    from nothing until all pods were one settled cluster
settled   the longest that they were not, or from when a pod that was cut off was back; to 0.2 s
joined    from the start of a pod that came again until it was a full member
leases    lost / doubled / left after all were released
stalls    how long the machine ran nothing at all, at most: a call that began then took as long
`

func writeTable(w io.Writer, results []result, skipped []string) {
	fmt.Fprint(w, "\n", legend, "\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "act\tover\tdenied\tfailed\tlongest\tformed\tsettled\tjoined\tleases\tstalls\tbound\tverdict\n")
	for _, r := range results {
		over, joined, verdict := fmt.Sprint(r.Over), "-", "holds"
		if r.Excused > 0 {
			over = fmt.Sprintf("%d (%d)", r.Over, r.Excused)
		}
		if r.Joined > 0 {
			joined = span(r.Joined)
		}
		if len(r.Broken) > 0 {
			verdict = "BROKEN"
		}
		fmt.Fprintf(t, "%s\t%s\t%d (%d)\t%d / %d\t%s\t%s\t%s\t%s\t%d / %d / %d\t%s\t%s\t%s\n",
			r.Act, over, r.Early, r.Denied, r.Failed[dns], r.Failed[service], span(r.Longest), span(r.Formed), span(r.Settled), joined,
			r.Leases.Lost, r.Leases.Doubled, r.Leases.Left, span(r.Stalled), r.Bound, verdict)
	}
	t.Flush()
	for _, s := range skipped {
		fmt.Fprintln(w, "left out: "+s)
	}
}

// span is a time as it is read at a glance.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "?"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// document is the report for programs.
type document struct {
	Holds   bool     `json:"holds"`
	Seed    uint64   `json:"seed"`
	From    string   `json:"from,omitempty"`
	Skipped []string `json:"skipped,omitempty"`
	Acts    []result `json:"acts"`
}

func writeJSON(w io.Writer, d document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
