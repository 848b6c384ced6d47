// Package deploy_test holds what is deployed beside the nodes to what nodes do.
package deploy_test

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

const dashboard = "grafana/sluice.json"

// exported are the metrics that a node which has seen everything tells Prometheus, with their labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	m := metrics.New()
	m.Tier("pro").Checks(0, new(limiter.Decision)).Add(1)
	m.Tier("pro").Acquisitions(0, 0, 0).Add(1)
	m.Tier("pro").Shadowed(0, metrics.ShadowedCheck, limiter.ReasonRateLimited).Add(1)
	m.SetPolicy("0123456789abcdef")
	m.Called(0, metrics.Check, codes.OK, time.Millisecond)
	m.SetReader(func() metrics.Readings {
		return metrics.Readings{
			Partitions: []metrics.State{{}}, Rounds: []metrics.Rounds{{}}, Forwards: []metrics.Result{{}},
		}
	})
	w := httptest.NewRecorder()
	m.Handler("v1").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	all := map[string][]string{"up": nil}
	for line := range strings.Lines(w.Body.String()) {
		if name := regexp.MustCompile(`^\w+`).FindString(line); name != "" {
			var labels []string
			for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line, -1) {
				labels = append(labels, l[1])
			}
			all[name] = labels
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d metrics: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
	return all
}

// panelExprs are the queries of the dashboard, by what they are for.
func panelExprs(t *testing.T) map[string]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(read(t, dashboard), &board); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			all[p.Title+", "+q.RefID] = q.Expr
		}
	}
	for _, a := range board.Annotations.List {
		all[a.Name] = a.Expr
	}
	if len(all) < 30 {
		t.Fatalf("only %d queries", len(all))
	}
	return all
}

// alertExprs are the conditions of the alerts, by name.
func alertExprs(t *testing.T) map[string]string {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(read(t, "alerts/alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r.Expr
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	text     = regexp.MustCompile(`"[^"]*"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	span     = regexp.MustCompile(`\[[^\]]*\]|\$\w+|\b\d[\w.]*`)
	word     = regexp.MustCompile(`\b[a-z_:]\w*\b(\s*\()?`)
	operator = []string{"and", "or", "unless", "offset", "bool", "group_left", "group_right"}
	// What a scrape adds, and histograms have.
	scraped = []string{"job", "namespace", "service", "instance", "le"}
)

// All that is asked for is there: each metric by its name, each label of it.
func TestQueriesAskForWhatNodesTell(t *testing.T) {
	known := exported(t)
	exprs := alertExprs(t)
	maps.Copy(exprs, panelExprs(t))
	for of, expr := range exprs {
		labels := slices.Clone(scraped)
		for _, s := range selector.FindAllStringSubmatch(expr, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if !slices.Contains(scraped, m[1]) && !slices.Contains(known[s[1]], m[1]) {
					t.Errorf("%s: %s has no label %s", of, s[1], m[1])
				}
			}
		}
		bare := selector.ReplaceAllString(text.ReplaceAllStringFunc(expr, func(s string) string { return strings.Map(plain, s) }), "$1")
		for _, g := range grouping.FindAllStringSubmatch(bare, -1) {
			for _, l := range strings.Split(g[1], ",") {
				labels = append(labels, strings.TrimSpace(l))
			}
		}
		bare = span.ReplaceAllString(grouping.ReplaceAllString(bare, " "), " ")
		found := 0
		for _, w := range word.FindAllString(bare, -1) {
			if strings.HasSuffix(w, "(") || slices.Contains(operator, w) {
				continue
			}
			found++
			if _, ok := known[w]; !ok {
				t.Errorf("%s: nodes tell no %s", of, w)
			}
			labels = slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(known[w], l) })
		}
		labels = slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(scraped, l) })
		if len(labels) > 0 {
			t.Errorf("%s: groups by %v, which no metric in it has", of, labels)
		}
		if found == 0 {
			t.Errorf("%s: asks for nothing: %s", of, expr)
		}
	}
}

// plain keeps braces in strings from being taken for a selector's.
func plain(r rune) rune {
	if r == '{' || r == '}' {
		return '.'
	}
	return r
}

// Each alert has a test in which it fires, one in which it does not, and a place in the
// documentation.
func TestAlertsAreTested(t *testing.T) {
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, file := range []string{"alerts/testdata/firing.yaml", "alerts/testdata/healthy.yaml"} {
		var tests struct {
			Tests []struct {
				Alerts []struct {
					Name   string `yaml:"alertname"`
					Firing []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal(read(t, file), &tests); err != nil {
			t.Fatal(err)
		}
		for _, test := range tests.Tests {
			for _, a := range test.Alerts {
				if len(a.Firing) > 0 {
					fires[a.Name] = true
				} else if strings.HasSuffix(file, "healthy.yaml") {
					quiet[a.Name] = true
				}
			}
		}
	}
	page := string(read(t, "../docs/operations.md"))
	for name := range alertExprs(t) {
		if !fires[name] {
			t.Errorf("%s fires in no test", name)
		}
		if !quiet[name] {
			t.Errorf("%s is not looked for in the record of healthy nodes: make alerts-healthy", name)
		}
		if !strings.Contains(page, "| `"+name+"`") {
			t.Errorf("docs/operations.md does not say what to do about %s", name)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
