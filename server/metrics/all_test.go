package metrics

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter"
)

// everything returns what is collected of a node of which all that can be told is told.
func everything() *prometheus.Registry {
	m := New()
	m.Tier("pro").Checks(0, new(limiter.Decision)).Add(1)
	m.Tier("pro").Acquisitions(0, 0, 0).Add(1)
	m.Tier("pro").Shadowed(0, ShadowedCheck, limiter.ReasonRateLimited).Add(1)
	m.SetPolicy("0123456789abcdef")
	m.Called(0, Check, codes.OK, time.Millisecond)
	m.SetReader(func() Readings {
		return Readings{
			Keys: 1, Leases: 2, TableTaken: 3, TableUsed: 4, Members: 5, Partitions: []State{{"held", 6}}, CopyLag: 7 * time.Millisecond,
			Unsent: 8, Views: 9, Rounds: []Rounds{{"promote", 10, 11}}, Waits: 12, Received: 13, Forwards: []Result{{"decided", 14}},
		}
	})
	return m.registry("v1")
}

// names returns those of the metrics that are ours.
func names(t *testing.T, of prometheus.Gatherer) (all []string) {
	t.Helper()
	families, err := of.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "sluice_") {
			all = append(all, f.GetName())
		}
	}
	return all
}

func TestLint(t *testing.T) {
	all := everything()
	problems, err := testutil.GatherAndLint(all, names(t, all)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// All that is described is collected, and the other way round.
func TestAllIsDescribed(t *testing.T) {
	if all := names(t, everything()); len(all) != len(descs())+1 { // and that of the build
		t.Errorf("%d metrics are collected, %d described: %v", len(all), len(descs()), all)
	}
}

func TestReadingsAreTold(t *testing.T) {
	m := New()
	m.SetReader(func() Readings {
		return Readings{
			Keys: 3, Partitions: []State{{"owned", 5}, {"waiting", 0}}, CopyLag: 1500 * time.Microsecond,
			Rounds: []Rounds{{"drop", 1, 2}}, Forwards: []Result{{"unknown", 7}},
		}
	})
	holds(t, scrape(t, m),
		`sluice_keys 3`, `sluice_partitions{state="owned"} 5`, `sluice_partitions{state="waiting"} 0`, `sluice_copy_lag_seconds 0.0015`,
		`sluice_rounds_total{purpose="drop",result="won"} 1`, `sluice_rounds_total{purpose="drop",result="withdrawn"} 2`,
		`sluice_forwards_total{result="unknown"} 7`,
	)
}

// The page of the documentation has each metric, with its type and its labels, and no other.
func TestThePageHasAllMetrics(t *testing.T) {
	families, err := everything().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "sluice_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", ")))
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `sluice_") {
			columns := strings.SplitAfterN(line, "|", 5)
			got = append(got, strings.ReplaceAll(strings.Join(columns[:4], ""), "|  |", "| |"))
		}
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "|  |", "| |")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/metrics.md has\n%s\nand there are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
