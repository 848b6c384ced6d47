package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A recording is what was scraped: the values of each series, a scrape each.
type recording struct {
	values map[string][]float64
}

// others are the metrics that are not ours and are kept too.
var others = []string{"process_resident_memory_bytes", "process_start_time_seconds", "go_gc_gomemlimit_bytes"}

// labels are those that a scrape adds, in Kubernetes.
const labels = `job="sluice",namespace="default",service="sluice-admin",instance=%q`

// add takes up the page of a node of the n-th scrape. A series that is new began at 0.
func (r *recording) add(page []byte, instance string, n int) error {
	return lines(page, func(series, value string) error {
		name, rest, _ := strings.Cut(series, "{")
		if !strings.HasPrefix(name, "sluice_") && !slices.Contains(others, name) {
			return nil
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		series = name + "{" + fmt.Sprintf(labels, instance)
		if rest = strings.TrimSuffix(rest, "}"); rest != "" {
			series += "," + rest
		}
		of := r.values[series+"}"]
		for len(of) < n {
			of = append(of, 0)
		}
		r.values[series+"}"] = append(of, v)
		return nil
	})
}

// steps is for how many intervals the recording goes on: forty minutes, longer than any alert looks back.
const steps = 160

// extended writes values in promtool's way, for all steps: counters go on growing as they did on
// the whole, gauges do what they did again and again.
func extended(series string, values []float64) string {
	first, last := values[0], values[len(values)-1]
	name, _, _ := strings.Cut(series, "{")
	counts := false
	for _, end := range []string{"_total", "_sum", "_count", "_bucket"} {
		counts = counts || strings.HasSuffix(name, end)
	}
	switch {
	case counts:
		return fmt.Sprintf("%g+%gx%d", first, (last-first)/float64(len(values)-1), steps)
	case slices.Min(values) == slices.Max(values):
		return fmt.Sprintf("%gx%d", first, steps)
	}
	var b strings.Builder
	for n := range steps {
		fmt.Fprintf(&b, "%g ", values[n%len(values)])
	}
	return strings.TrimSpace(b.String())
}

type (
	unitTests struct {
		RuleFiles  []string   `yaml:"rule_files"`
		Evaluation string     `yaml:"evaluation_interval"`
		Tests      []unitTest `yaml:"tests"`
	}
	unitTest struct {
		Name     string      `yaml:"name"`
		Interval string      `yaml:"interval"`
		Series   []series    `yaml:"input_series"`
		Alerts   []alertTest `yaml:"alert_rule_test"`
	}
	series struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	alertTest struct {
		At     string           `yaml:"eval_time"`
		Alert  string           `yaml:"alertname"`
		Firing []map[string]any `yaml:"exp_alerts"`
	}
)

// write writes a test in which no alert fires.
func (r *recording) write(to io.Writer) error {
	alerts, err := alertNames("deploy/alerts/alerts.yaml")
	if err != nil {
		return err
	}
	test := unitTest{Name: "three nodes that are well", Interval: every.String()}
	for i := range nodes {
		up := "up{" + fmt.Sprintf(labels, fmt.Sprintf("sluice-%d", i)) + "}"
		test.Series = append(test.Series, series{up, fmt.Sprintf("1x%d", steps)})
	}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if values := r.values[name]; !strings.Contains(name, "_bucket{") || values[len(values)-1] > 0 {
			test.Series = append(test.Series, series{name, extended(name, values)})
		}
	}
	for _, at := range []string{"2m", "5m", "20m", "39m"} {
		for _, alert := range alerts {
			test.Alerts = append(test.Alerts, alertTest{at, alert, []map[string]any{}})
		}
	}
	if _, err := io.WriteString(to, "# Recorded by make alerts-healthy; see main.go.\n"); err != nil {
		return err
	}
	return yaml.NewEncoder(to).Encode(unitTests{[]string{"../alerts.yaml"}, every.String(), []unitTest{test}})
}

// alertNames are the names of the alerts in a file of rules.
func alertNames(file string) (names []string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert string `yaml:"alert"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(b, &rules); err != nil {
		return nil, err
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			names = append(names, r.Alert)
		}
	}
	return names, nil
}
