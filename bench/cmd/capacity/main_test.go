package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSimulate holds what the simulation says to what must be so.
func TestSimulate(t *testing.T) {
	for _, n := range []int{1, 2, 3, 50} {
		s, err := simulate(n, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		if s.busiest < 1 || s.busiest > 2 || n <= 2 && s.busiest > 1.001 {
			t.Errorf("%d nodes: the busiest has %.2f of the mean", n, s.busiest)
		}
		if n > 1 && (s.moved < 0.5 || s.moved > 2) {
			t.Errorf("%d nodes: a join moves %.2f of a fair share", n, s.moved)
		}
		if (s.gossip == 0) != (n == 1) || s.gossip > 2 {
			t.Errorf("%d nodes: news takes %.1f s", n, s.gossip)
		}
		if (s.atRest() == 0) != (n == 1) {
			t.Errorf("%d nodes: %.0f bytes a second at rest", n, s.atRest())
		}
	}
}

func TestRunReadsReports(t *testing.T) {
	write := func(name, scenarios string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(`{"scenarios":[`+scenarios+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	contender := func(scenario, name, cpu string) string {
		return `{"scenario":"` + scenario + `","contenders":[{"name":"` + name + `","measures":{"cpu":{"median":` + cpu + `}}}]}`
	}
	one := write("one.json", contender("unary", "sluice", "20")+","+contender("ring-aware", "one-node", "1"))
	two := write("two.json", contender("ring-aware", "batches", "2")+","+contender("three-nodes", "sluice", "50"))
	var out strings.Builder
	if err := run(&out, []string{one, two}, 100); err != nil {
		t.Fatal(err)
	}
	if want := "| 1 | 1.00 | - | 0.0 s | 0 KB/s | 80 million | 1 million | 50,000 |"; !strings.Contains(out.String(), want) {
		t.Errorf("%s is missing from\n%s", want, &out)
	}
	if err := run(&out, []string{one}, 100); err == nil || !strings.Contains(err.Error(), "batches") {
		t.Errorf("error %v, want one about the missing contender batches", err)
	}
}
