package scenario

import (
	"strings"
	"testing"
	"time"
)

// All scenarios that there are can be read.
func TestScenariosParse(t *testing.T) {
	all, err := Read("../../scenarios", func(string) bool { return true })
	if err != nil || len(all) < 10 {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	for i, s := range all {
		if i > 0 && s.Order <= all[i-1].Order {
			t.Errorf("%s has no place of its own in the report", s.Name)
		}
		if len(s.Compare) == 0 {
			t.Errorf("%s compares nothing", s.Name)
		}
	}
}

func TestParseFillsIn(t *testing.T) {
	s, err := Parse("x", []byte(`
about: Something.
load: {workers: 7, cost: 0}
contenders:
  - {name: a, target: sluice}
  - {name: b, target: echo, load: {workers: 9, cost: 2}}
compare:
  - {what: w, measure: cpu, of: a - b, to: b, at_most: 2}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.Contenders[0], s.Contenders[1]
	if a.Load.Workers != 7 || *a.Load.Cost != 0 || b.Load.Workers != 9 || *b.Load.Cost != 2 || a.Load.Keys != 100_000 || a.Nodes != 1 {
		t.Errorf("%+v, %+v", a, b)
	}
	if s.Pairs != 10 || s.For != 2*time.Second || *s.Compare[0].Most != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAgainstBeforeComparesBuildsOfSluiceAlone(t *testing.T) {
	s, err := Parse("x", []byte("about: A.\ncontenders:\n  - {name: a, target: sluice, load: {batch: 7}}\n  - {name: b, target: echo}\ncompare:\n  - {what: w, measure: cpu, of: a, to: b}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := s.AgainstBefore()
	if len(got.Contenders) != 2 || got.Contenders[1].Name != "a-before" || got.Contenders[1].Target != "sluice-before" || got.Contenders[1].Load.Batch != 7 {
		t.Errorf("%+v", got.Contenders)
	}
	for _, c := range got.Compare {
		if err := got.checkCompare(c); err != nil || c.Of != "a" || c.To != "a-before" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "about: A.\ncontenders:\n  - {name: a, target: sluice}\n"
	if _, err := Parse("x", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for bad, want := range map[string]string{
		"contenders: []":                                                                          "required",
		good + "load: {worker: 1}":                                                                "worker",
		good + "load: {hot: 1.5}":                                                                 "share",
		good + "load: {abusive: {share: 0.5}}":                                                    "abusive",
		good + "compare: [{what: w, measure: speed, of: a}]":                                      "speed",
		good + "compare: [{what: w, measure: cpu, of: c}]":                                        `"c"`,
		good + "compare: [{what: w, measure: cpu, of: a a}]":                                      "+ or -",
		good + "compare: [{what: w, measure: cpu, of: a -}]":                                      "ends",
		strings.Replace(good, "sluice", "slice", 1):                                               "slice",
		strings.Replace(good, "target: sluice", "target: echo, load: {via: client}", 1):           "only sluice",
		strings.Replace(good, "target: sluice", "target: sluice, load: {deadline_by: client}", 1): "sets no deadline",
	} {
		if _, err := Parse("x", []byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one about %s", bad, err, want)
		}
	}
}

func TestValue(t *testing.T) {
	terms, err := Terms("a - b + c")
	if err != nil {
		t.Fatal(err)
	}
	if got := Value(terms, func(name string) float64 { return map[string]float64{"a": 10, "b": 3, "c": 0.5}[name] }); got != 7.5 {
		t.Errorf("a - b + c = %v, want 7.5", got)
	}
}
