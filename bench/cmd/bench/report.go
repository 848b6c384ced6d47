package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/overten/sluice/bench/internal/scenario"
	"github.com/overten/sluice/bench/internal/stat"
)

// A report is what came out of a run.
type report struct {
	Machine   string    `json:"machine"`
	Commit    string    `json:"commit"`
	Command   string    `json:"command"`
	Began     time.Time `json:"began"`
	Scenarios []outcome `json:"scenarios"`
}

// An outcome is what came of one scenario.
type outcome struct {
	Scenario   string       `json:"scenario"`
	About      string       `json:"about"`
	Settings   []string     `json:"settings"`
	Missing    []string     `json:"missing,omitempty"`
	Results    []result     `json:"contenders"`
	Comparison []comparison `json:"comparisons"`

	contenders []scenario.Contender
	samples    [][]sample // of each contender, by turn; empty: it is missing
}

// A result is one contender over all turns.
type result struct {
	Name     string                 `json:"name"`
	Load     scenario.Load          `json:"load"`
	Nodes    int                    `json:"nodes"`
	Measures map[string]stat.Spread `json:"measures"`
	Failed   int                    `json:"failed_calls"`
	Denied   float64                `json:"denied_share"`
	Turns    []sample               `json:"turns"`
}

// A comparison is a line of the report with its value over all turns.
type comparison struct {
	What    string      `json:"what"`
	Measure string      `json:"measure"`
	Of      string      `json:"of"`
	To      string      `json:"to,omitempty"`
	Most    *float64    `json:"at_most,omitempty"`
	Least   *float64    `json:"at_least,omitempty"`
	Aim     *float64    `json:"aim,omitempty"`
	Value   stat.Spread `json:"value"`
	Verdict string      `json:"verdict"` // reaches the aim, holds, falls short; "": there is no bar
}

func newReport(ctx context.Context) report {
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	return report{
		Machine: fmt.Sprintf("%s, %d processors, %s %s", processorName(), runtime.NumCPU(), runtime.Version(), runtime.GOARCH),
		Commit:  strings.TrimSpace(string(commit)), Began: time.Now().UTC().Truncate(time.Second),
		Command: strings.Join(append([]string{"go run ./cmd/bench"}, os.Args[1:]...), " "),
	}
}

// processorName is what the system calls its processors.
func processorName() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // empty where there is none
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOOS
}

// compare puts the samples together, and makes the comparisons that they allow.
func (o *outcome) compare(wanted []scenario.Compare) {
	for i, c := range o.contenders {
		if len(o.samples[i]) == 0 {
			continue
		}
		r := result{Name: c.Name, Load: c.Load, Nodes: c.Nodes, Turns: o.samples[i], Measures: map[string]stat.Spread{}}
		decisions, denied := 0, 0
		for _, s := range o.samples[i] {
			r.Failed += s.Failed
			decisions, denied = decisions+s.Decisions, denied+s.Denied
		}
		r.Denied = float64(denied) / float64(max(1, decisions))
		for measure := range scenario.Measures {
			var values []float64
			for _, s := range o.samples[i] {
				if v, ok := s.Measures[measure]; ok {
					values = append(values, v)
				}
			}
			if len(values) > 0 {
				r.Measures[measure] = stat.SpreadOf(values)
			}
		}
		o.Results = append(o.Results, r)
	}
	for _, w := range wanted {
		if values := o.values(w); len(values) > 0 {
			c := comparison{What: w.What, Measure: w.Measure, Of: w.Of, To: w.To, Most: w.Most, Least: w.Least, Aim: w.Aim, Value: stat.SpreadOf(values)}
			c.Verdict = c.verdict()
			o.Comparison = append(o.Comparison, c)
		}
	}
}

// values are a comparison's values, turn by turn; none if a contender of it is missing.
func (o *outcome) values(w scenario.Compare) (values []float64) {
	of, _ := scenario.Terms(w.Of) // the scenario was checked
	to, _ := scenario.Terms(w.To)
	turns := math.MaxInt
	for _, t := range append(slices.Clone(of), to...) {
		turns = min(turns, len(o.samples[o.number(t.Name)]))
	}
	for turn := range turns {
		measure := func(name string) float64 {
			v, ok := o.samples[o.number(name)][turn].Measures[w.Measure]
			if !ok {
				return math.NaN()
			}
			return v
		}
		v := scenario.Value(of, measure)
		if len(to) > 0 {
			v /= scenario.Value(to, measure)
		}
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values
}

func (o *outcome) number(name string) int {
	return slices.IndexFunc(o.contenders, func(c scenario.Contender) bool { return c.Name == name })
}

// verdict judges the median.
func (c *comparison) verdict() string {
	reaches := func(bar *float64) bool {
		return bar != nil && (c.Least != nil && c.Value.Median >= *bar || c.Least == nil && c.Value.Median <= *bar)
	}
	bar := c.Most
	if c.Least != nil {
		bar = c.Least
	}
	switch {
	case bar == nil:
		return ""
	case reaches(c.Aim):
		return "reaches the aim"
	case reaches(bar):
		return "holds"
	}
	return "falls short"
}

// number writes a figure with three digits that count.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func bar(c comparison) string {
	switch {
	case c.Most != nil:
		return "≤ " + figure(*c.Most)
	case c.Least != nil:
		return "≥ " + figure(*c.Least)
	}
	return ""
}

func aim(c comparison) string {
	if c.Aim == nil {
		return ""
	}
	return figure(*c.Aim)
}

func (o *outcome) writeText(w io.Writer) {
	for _, c := range o.Comparison {
		fmt.Fprintf(w, "  %-64s %8s  (%s to %s)  %-9s aim %-6s %s\n", c.What, figure(c.Value.Median), figure(c.Value.Least), figure(c.Value.Most), bar(c), aim(c), c.Verdict)
	}
	for _, m := range o.Missing {
		fmt.Fprintln(w, "  left out:", m)
	}
}

func (r *report) writeText(w io.Writer) {
	fmt.Fprintf(w, "\nMedians over the turns, in brackets the extremes\n")
	for i := range r.Scenarios {
		fmt.Fprintf(w, "\n%s\n", r.Scenarios[i].Scenario)
		r.Scenarios[i].writeText(w)
	}
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// write writes the report into a directory.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{"report.json": r.writeJSON, "report.md": r.writeMarkdown} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			return err
		}
	}
	return r.plot(dir)
}

// writeMarkdown writes the report for people.
func (r *report) writeMarkdown(w io.Writer) error {
	p := func(format string, args ...any) { fmt.Fprintf(w, format, args...) }
	p("# What was measured\n\n%s, commit %s, %s, by\n\n    %s\n\n", r.Machine, r.Commit, r.Began.Format("2006-01-02 15:04 UTC"), r.Command)
	p("Medians over the turns of one run, in which contenders took turns; in brackets the extremes. Figures of different runs\nare not comparable. Server and load generator share the processors.\n\n")
	p("| scenario | figure | median | must | aim | |\n|---|---|---|---|---|---|\n")
	for _, o := range r.Scenarios {
		for _, c := range o.Comparison {
			p("| %s | %s | %s (%s–%s) | %s | %s | %s |\n", o.Scenario, c.What, figure(c.Value.Median), figure(c.Value.Least), figure(c.Value.Most), bar(c), aim(c), c.Verdict)
		}
	}
	for _, o := range r.Scenarios {
		p("\n## %s\n\n%s\n\n", o.Scenario, o.About)
		p("| contender | decisions/s | server µs | client µs | p50 ms | p99 ms | p99.9 ms | GC | denied | failed calls |\n|---|---|---|---|---|---|---|---|---|---|\n")
		for _, c := range o.Results {
			m := func(name string) string { return figure(c.Measures[name].Median) }
			p("| %s | %s | %s | %s | %s | %s | %s | %.1f %% | %.0f %% | %d |\n", c.Name, m("rate"), m("cpu"), m("client"), m("p50"), m("p99"), m("p999"),
				100*c.Measures["gc"].Median, 100*c.Denied, c.Failed)
		}
		for _, m := range o.Missing {
			p("\nLeft out: %s.\n", m)
		}
		p("\n![server CPU per decision](%s.svg)\n\nSettings:\n\n", o.Scenario)
		for _, s := range o.Settings {
			p("- %s\n", s)
		}
	}
	return nil
}
