// Command capacity tells what clusters of 1 to 50 nodes can hold and do, and what each node then
// has: from what the other programs have measured, and a simulation of views, of gossip, and of
// what moves when a node joins.
//
//	go run ./cmd/capacity ../docs/bench/*/report.json
//
// Memory and processor time are those of the busiest node, as keys fall on nodes unevenly.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/overten/sluice/bench/internal/stat"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

const (
	partitions = 1021
	tries      = 5 // sets of names for each size, of which the worst counts
)

var sizes = []int{1, 2, 3, 5, 7, 10, 15, 20, 30, 50}

func main() {
	perKey := flag.Float64("key", 100, "`bytes` of memory a key, as memory says")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: capacity [-key BYTES] REPORT...    (reports that bench -out wrote)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(os.Stdout, flag.Args(), *perKey); err != nil {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, reports []string, perKey float64) error {
	costs, err := readCosts(reports)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	fmt.Fprintf(w, "%d partitions, the worst of %d clusters of each size; %.0f bytes a key; a core decides in %.2f µs by itself,\n"+
		"in %.2f with a copy to feed, a call of one check in %.2f by itself, and in %.1f if any node may be asked\n\n",
		partitions, tries, perKey, costs.alone, costs.batched, costs.unary, costs.anyNode)
	fmt.Fprintf(w, "| nodes | busiest: of the mean | moved by a join: of a fair share | news is everywhere after | at rest, a node sends | keys in 8 GB a node | decisions/s of all, with a core each: batches | single calls |\n")
	fmt.Fprintf(w, "|---|---|---|---|---|---|---|---|\n")
	var shapes []shape
	for _, n := range sizes {
		s, err := simulate(n, random)
		if err != nil {
			return err
		}
		shapes = append(shapes, s)
		batched, single := costs.batched, costs.anyNode
		if n == 1 {
			batched, single = costs.alone, costs.unary
		}
		each := float64(n) / s.busiest
		fmt.Fprintf(w, "| %d | %.2f | %s | %.1f s | %.0f KB/s | %s | %s | %s |\n", n, s.busiest, s.movedText(), s.gossip, s.atRest()/1000,
			count(8e9/perKey*each/s.copies()), count(1e6/batched*each), count(1e6/single*each))
	}
	fmt.Fprintf(w, "\nMemory of the busiest node, in GB, for so many keys that are active in the longest window, and after one node has died\n"+
		"(-: more than the %s keys that a node can have):\n\n| nodes |", count(limiter.MaxKeys))
	totals := []float64{1e6, 1e7, 1e8, 1e9}
	for _, keys := range totals {
		fmt.Fprintf(w, " %s |", count(keys))
	}
	fmt.Fprintf(w, "\n|---|---|---|---|---|\n")
	for _, s := range shapes {
		fmt.Fprintf(w, "| %d |", s.nodes)
		for _, keys := range totals {
			now := s.busiest * s.copies() * keys / float64(s.nodes)
			fmt.Fprintf(w, " %s", memory(now, perKey))
			if s.nodes > 1 {
				after := now * float64(s.nodes) / float64(s.nodes-1)
				if s.nodes == 2 {
					after = now // the other has all already
				}
				fmt.Fprintf(w, ", %s", memory(after, perKey))
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
	return nil
}

// shape is what the simulation says of a cluster.
type shape struct {
	nodes   int
	busiest float64 // partitions of the busiest node, copies included, of the mean
	moved   float64 // partitions that change their owner when the last node joins, of its fair share
	gossip  float64 // seconds until all know what one does
}

// copies is how many times a key is stored.
func (s shape) copies() float64 { return float64(min(s.nodes, 2)) }

// atRest is how many bytes a second a node sends when nothing is asked: heartbeats ten times a
// second to each other node, with two bytes for each partition held, and for each partition
// held the request for a pledge and the pledge, 26 bytes together.
func (s shape) atRest() float64 {
	if s.nodes == 1 {
		return 0
	}
	held := float64(partitions) / float64(s.nodes)
	return float64(s.nodes-1)*10*2*held + 10*26*held
}

func (s shape) movedText() string {
	if s.nodes == 1 {
		return "-"
	}
	return fmt.Sprintf("%.2f", s.moved)
}

func simulate(n int, random *rand.Rand) (s shape, err error) {
	s.nodes = n
	for range tries {
		members := make([]ring.Member, n)
		for i := range members {
			members[i] = ring.Member{Name: fmt.Sprintf("sluice-%x", random.Uint32()), Boot: 1}
		}
		view, err := ring.Build(members, partitions)
		if err != nil {
			return s, err
		}
		held := map[string]int{}
		for p := range partitions {
			held[view.Owner(p)]++
			if next := view.Successor(p); next != "" {
				held[next]++
			}
		}
		most := 0
		for _, h := range held {
			most = max(most, h)
		}
		s.busiest = max(s.busiest, float64(most)*float64(n)/(s.copies()*partitions))
		s.gossip = max(s.gossip, spread(n, random))
		if n == 1 {
			continue
		}
		before, err := ring.Build(members[:n-1], partitions)
		if err != nil {
			return s, err
		}
		moved := 0
		for p := range partitions {
			if before.Owner(p) != view.Owner(p) {
				moved++
			}
		}
		s.moved = max(s.moved, float64(moved)*float64(n)/partitions)
	}
	return s, nil
}

// spread is how long news takes to reach all, if each that has it tells three at random, ten times
// a second, and none of it is lost.
func spread(n int, random *rand.Rand) float64 {
	knows := make([]bool, n)
	knows[0] = true
	rounds := 0
	for told := 1; told < n; rounds++ {
		next := append([]bool(nil), knows...)
		for i := range knows {
			for range 3 {
				if to := random.IntN(n); knows[i] && !next[to] {
					next[to] = true
					told++
				}
			}
		}
		knows = next
	}
	return float64(rounds) / 10
}

// costs are what decisions cost, in µs of a processor.
type costs struct{ unary, alone, batched, anyNode float64 }

// A report is what capacity reads of one.
type report struct {
	Scenarios []struct {
		Scenario   string
		Contenders []struct {
			Name     string
			Measures map[string]stat.Spread
		}
	}
}

// readCosts finds them in reports.
func readCosts(files []string) (c costs, err error) {
	var all report
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return c, err
		}
		var r report
		if err := json.Unmarshal(b, &r); err != nil {
			return c, fmt.Errorf("%s: %w", file, err)
		}
		all.Scenarios = append(all.Scenarios, r.Scenarios...)
	}
	find := func(scenario, contender string) float64 {
		for _, s := range all.Scenarios {
			for _, r := range s.Contenders {
				if s.Scenario == scenario && r.Name == contender {
					return r.Measures["cpu"].Median
				}
			}
		}
		err = errors.Join(err, fmt.Errorf("no report has contender %s of scenario %s", contender, scenario))
		return 0
	}
	c = costs{
		unary: find("unary", "sluice"), alone: find("ring-aware", "one-node"), batched: find("ring-aware", "batches"), anyNode: find("three-nodes", "sluice"),
	}
	return c, err
}

// count writes a number as people do.
func count(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.3g billion", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.3g million", v/1e6)
	}
	return fmt.Sprintf("%.0f,000", v/1e3)
}

// memory is what so many keys take in a node, in GB: "-" if they are more than a node can have.
func memory(keys, perKey float64) string {
	gb := keys * perKey / 1e9
	switch {
	case keys > limiter.MaxKeys:
		return "-"
	case gb < 0.1:
		return fmt.Sprintf("%.2f", gb)
	}
	return fmt.Sprintf("%.1f", gb)
}
