package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/overten/sluice/bench/internal/stat"
)

// What a node may cost at most, as a multiple of the echo that is served as it is, in the
// median of the pairs; and what it aims for.
const (
	bar = 1.25
	aim = 1.12
)

// A report is what came out.
type report struct {
	Rounds   [][]sample   `json:"rounds"`
	Servers  []serverStat `json:"servers"`
	Compared []comparison `json:"compared"`
}

// serverStat is one server over all rounds.
type serverStat struct {
	Name       string      `json:"name"`
	CPUPerCall stat.Spread `json:"server_cpu_us_per_call"`
	PerSecond  stat.Spread `json:"calls_per_second"`
}

// comparison is Sluice against one yardstick.
type comparison struct {
	Against string      `json:"against"`
	Ratio   stat.Spread `json:"ratio"` // of CPU per call, within each pair
}

func summarise(o options, rounds [][]sample) report {
	r := report{Rounds: rounds}
	cpu := make([][]float64, 1+len(o.against))
	for i := range cpu {
		var rate []float64
		for _, round := range rounds {
			cpu[i] = append(cpu[i], round[i].CPUPerCall)
			rate = append(rate, round[i].PerSecond)
		}
		r.Servers = append(r.Servers, serverStat{Name: rounds[0][i].Name, CPUPerCall: stat.SpreadOf(cpu[i]), PerSecond: stat.SpreadOf(rate)})
		if i > 0 {
			r.Compared = append(r.Compared, comparison{Against: o.against[i-1], Ratio: stat.SpreadOf(stat.Ratios(cpu[0], cpu[i]))})
		}
	}
	return r
}

// writeRound writes one round: the ratio beside each yardstick is Sluice's CPU to its own.
func writeRound(w io.Writer, pair int, round []sample) {
	for i, s := range round {
		first, ratio := "", ""
		if i == 0 {
			first = fmt.Sprint(pair)
		} else {
			ratio = fmt.Sprintf("%7.3f", round[0].CPUPerCall/s.CPUPerCall)
		}
		fmt.Fprintf(w, "%5s  %-8s %9d %9.0f %8.2f %8.2f %12.2f %7s", first, s.Name, s.Calls, s.PerSecond, s.P50Millis, s.P99Millis, s.CPUPerCall, ratio)
		if s.Failed > 0 || s.Denied > 0 {
			fmt.Fprintf(w, "  %d failed, %d denied", s.Failed, s.Denied)
		}
		fmt.Fprintln(w)
	}
}

func (r report) writeText(w io.Writer) {
	fmt.Fprintf(w, "\nServer CPU per call, µs      median   quartiles        from – to\n")
	for _, s := range r.Servers {
		c := s.CPUPerCall
		fmt.Fprintf(w, "  %-24s %8.2f   %5.2f – %5.2f   %5.2f – %5.2f\n", s.Name, c.Median, c.Quarter, c.Quarter3, c.Least, c.Most)
	}
	fmt.Fprintf(w, "\nSluice against, in pairs     median   quartiles        from – to\n")
	for _, c := range r.Compared {
		s := c.Ratio
		fmt.Fprintf(w, "  %-24s %7.3fx   %5.3f – %5.3f   %5.3f – %5.3f\n", c.Against, s.Median, s.Quarter, s.Quarter3, s.Least, s.Most)
	}
	fmt.Fprintf(w, "\nThe bar is %.2fx of an echo served with the same options (same), the aim %.2fx.\n", bar, aim)
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
