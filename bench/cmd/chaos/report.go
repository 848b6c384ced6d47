package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A row is all repetitions of an event with one window: of each number the worst.
type row struct {
	result
	repetitions int
}

// rowsOf sums up results in their order.
func rowsOf(results []result) (rows []row) {
	for _, r := range results {
		i := slices.IndexFunc(rows, func(o row) bool { return o.Event == r.Event && o.Window == r.Window })
		if i < 0 {
			rows = append(rows, row{result: result{Event: r.Event, Window: r.Window}})
			i = len(rows) - 1
		}
		o := &rows[i]
		o.repetitions++
		o.Over, o.OverExcess, o.Excused = max(o.Over, r.Over), max(o.OverExcess, r.OverExcess), max(o.Excused, r.Excused)
		o.Early, o.Denied = max(o.Early, r.Early), max(o.Denied, r.Denied)
		o.Uncounted, o.Overcounted = max(o.Uncounted, r.Uncounted), max(o.Overcounted, r.Overcounted)
		for g := range groups {
			o.Calls[g] = max(o.Calls[g], r.Calls[g])
			o.Failed[g] = max(o.Failed[g], r.Failed[g])
		}
		o.P99, o.Longest = max(o.P99, r.P99), max(o.Longest, r.Longest)
		o.Answered, o.Agreed = max(o.Answered, r.Answered), max(o.Agreed, r.Agreed)
		o.Leases.Lost, o.Leases.Doubled, o.Leases.Left = max(o.Leases.Lost, r.Leases.Lost), max(o.Leases.Doubled, r.Leases.Doubled), max(o.Leases.Left, r.Leases.Left)
		o.Others, o.Stalled = max(o.Others, r.Others), max(o.Stalled, r.Stalled)
		o.Broken = append(o.Broken, r.Broken...)
	}
	return rows
}

// legend explains the table's columns.
const legend = `Of each number the worst of all repetitions is shown.
over      units allowed beyond the limit in any window, all keys together; in brackets what nodes
          had answered in their last moments before they were lost or paused, which is the bound where it stands
denied    units denied though callers had not been told of as many; in brackets those that tries
          which may have been counted cannot explain
5s, 50ms  calls of gateways with that deadline that failed
p99, max  how long calls took that began from the event to 5 s after it, deadline 5 s
answered  until a sample of keys was answered again, and stayed so
agreed    from when something last happened until all nodes agreed, all partitions held and copied
counts    units that were allowed and not counted / counted and not asked for
others    share of the processors that other programs had during the event
stalls    how long the machine ran nothing at all, at most: a call that began then took as long
leases    lost / doubled / left after all were released
`

func writeTable(w io.Writer, rows []row) {
	fmt.Fprint(w, "\n", legend, "\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "event\twindow\ttimes\tover\tdenied\t5s\t50ms\tp99\tmax\tanswered\tagreed\tcounts\tleases\tothers\tstalls\tverdict\n")
	for _, r := range rows {
		over := fmt.Sprint(r.Over)
		if r.Excused > 0 {
			over = fmt.Sprintf("%d (%d)", r.Over, r.Excused)
		}
		verdict := "holds"
		if len(r.Broken) > 0 {
			verdict = "BROKEN"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d (%d)\t%d\t%d\t%s\t%s\t%s\t%s\t%d / %d\t%d / %d / %d\t%.0f %%\t%s\t%s\n",
			r.Event, span(r.Window), r.repetitions, over, r.Early, r.Denied, r.Failed[patient], r.Failed[impatient],
			span(r.P99), span(r.Longest), span(r.Answered), span(r.Agreed), r.Uncounted, r.Overcounted,
			r.Leases.Lost, r.Leases.Doubled, r.Leases.Left, 100*r.Others, span(r.Stalled), verdict)
	}
	t.Flush()
}

// span is a time as it is read at a glance.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "?"
	case d == never:
		return "never"
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.Round(time.Second).String()
}

// document is the report for programs.
type document struct {
	Holds   bool     `json:"holds"`
	Seed    uint64   `json:"seed"`
	Skipped []string `json:"skipped,omitempty"`
	Results []result `json:"results"`
}

func writeJSON(w io.Writer, d document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
