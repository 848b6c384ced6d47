package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/overten/sluice/bench/internal/scenario"
	"github.com/overten/sluice/bench/internal/stat"
	"github.com/overten/sluice/bench/internal/target"
)

// TestMain is also the program that the tests run as echoes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == target.ServeEcho {
		exitOn(target.Echo(os.Args[2:]))
		return
	}
	os.Exit(m.Run())
}

// A whole measurement, too short to mean anything: every way of asking gets its answers, none is
// denied or fails, and the report has them.
func TestMeasure(t *testing.T) {
	s, err := scenario.Parse("short", []byte(`
about: All ways.
pairs: 2
for: 100ms
warm_up: 100ms
load: {workers: 4, conns: 2, keys: 1000, deadline: 20s, tier: unlimited}
contenders:
  - {name: call, target: sluice}
  - {name: batch, target: sluice, load: {batch: 50}}
  - {name: client, target: sluice, nodes: 2, load: {via: client}}
  - {name: client-batch, target: sluice, load: {via: client, batch: 50, cost: 0}}
  - {name: lease, target: sluice, load: {via: lease}}
  - {name: open, target: sluice, load: {open: 0.2}}
  - {name: echo, target: echo}
  - {name: absent, target: gubernator}
compare:
  - {what: ratio, measure: cpu, of: call, to: echo}
  - {what: difference, measure: cpu, of: batch - client-batch}
  - {what: with one that is absent, measure: cpu, of: call, to: absent}
`))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	tools, err := findTools(t.Context(), filepath.Join(scratch, "no such place"), scratch)
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	b := &bench{tools: tools, dir: scratch, progress: &progress}
	out, err := b.measure(t.Context(), s)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if len(out.Results) != 7 || len(out.Missing) != 1 || len(out.Comparison) != 2 {
		t.Fatalf("%d results, %d missing, %d comparisons:\n%s", len(out.Results), len(out.Missing), len(out.Comparison), &progress)
	}
	for _, r := range out.Results {
		if r.Failed > 0 || r.Denied > 0 || r.Measures["cpu"].Least <= 0 || r.Measures["rate"].Least <= 0 || len(r.Turns) != 2 {
			t.Errorf("%s: %+v", r.Name, r)
		}
	}
	report := newReport(t.Context())
	report.Scenarios = append(report.Scenarios, out)
	if err := report.write(scratch); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"report.md", "report.json", "short.svg"} {
		b, err := os.ReadFile(filepath.Join(scratch, file))
		if err != nil || len(b) == 0 || file == "report.json" && !json.Valid(b) {
			t.Errorf("%s: %d bytes, %v", file, len(b), err)
		}
	}
}

// What most of the calls are denied is told, and no failure.
func TestDenied(t *testing.T) {
	s, err := scenario.Parse("denied", []byte(`
about: Denials.
pairs: 1
for: 300ms
warm_up: 100ms
load: {workers: 4, keys: 1000, deadline: 20s, abusive: {share: 0.9, keys: 2, tier: free}}
contenders:
  - {name: calls, target: sluice}
`))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	tools, err := findTools(t.Context(), scratch, scratch)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{tools: tools, dir: scratch, progress: new(bytes.Buffer)}
	out, err := b.measure(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r := out.Results[0]; r.Failed > 0 || r.Denied < 0.8 || r.Denied > 0.95 {
		t.Errorf("%.2f of the calls were denied and %d failed, want nine of ten and none", r.Denied, r.Failed)
	}
}

// A slow turn slows both sides: the median is of each turn's own ratio.
func TestCompare(t *testing.T) {
	turns := func(cpu ...float64) (all []sample) {
		for _, c := range cpu {
			all = append(all, sample{Measures: map[string]float64{"cpu": c}})
		}
		return all
	}
	bar, aim := 1.3, 1.2
	o := outcome{contenders: []scenario.Contender{{Name: "a"}, {Name: "b"}}, samples: [][]sample{turns(13, 22, 15), turns(10, 20, 12)}}
	o.compare([]scenario.Compare{
		{What: "ratio", Measure: "cpu", Of: "a", To: "b", Most: &bar, Aim: &aim},
		{What: "difference", Measure: "cpu", Of: "a - b", Least: &bar},
	})
	if v := o.Comparison[0].Value; v != (stat.Spread{Least: 1.1, Quarter: 1.1, Median: 1.25, Quarter3: 1.3, Most: 1.3}) || o.Comparison[0].Verdict != "holds" {
		t.Errorf("a to b: %+v, %s", v, o.Comparison[0].Verdict)
	}
	if v := o.Comparison[1].Value; v.Median != 3 || o.Comparison[1].Verdict != "holds" {
		t.Errorf("a - b: %+v, %s", v, o.Comparison[1].Verdict)
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-only", "("}, {"-pairs", "-1"}, {"-o", "yaml"}, {"stray"}} {
		if o, err := parse(args, &bytes.Buffer{}); err == nil {
			t.Errorf("parse %q = %+v, want an error", args, o)
		}
	}
	o, err := parse([]string{"-only", "^unary", "-for", "3s", "-o", "json"}, &bytes.Buffer{})
	if err != nil || !o.only.MatchString("unary") || o.only.MatchString("x-unary") || o.period != 3*time.Second || !o.json {
		t.Errorf("parse = %+v, %v", o, err)
	}
}
