//go:build promtool

package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
}

func TestAlertsFire(t *testing.T) { promtool(t, "test", "rules", "alerts/testdata/firing.yaml") }
func TestHealthyNodesAreQuiet(t *testing.T) {
	promtool(t, "test", "rules", "alerts/testdata/healthy.yaml")
}
func TestAlertsAreRules(t *testing.T) { promtool(t, "check", "rules", "alerts/alerts.yaml") }

// The dashboard's queries are PromQL: what Grafana fills in is filled in, and each made a rule.
func TestPanelsAreQueries(t *testing.T) {
	type rule struct{ Record, Expr string }
	type group struct {
		Name  string
		Rules []rule
	}
	g := group{Name: "dashboard"}
	for _, expr := range panelExprs(t) {
		g.Rules = append(g.Rules, rule{"dashboard:query", strings.NewReplacer("$__rate_interval", "1m", "$job", "sluice", "$namespace", ".*").Replace(expr)})
	}
	b, err := yaml.Marshal(map[string][]group{"groups": {g}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
