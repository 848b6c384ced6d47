package statusz

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
)

// The field of a chart, in units of its picture.
const (
	chartLeft, chartRight = 44.0, 476.0
	chartTop, chartFoot   = 10.0, 150.0
)

// A chart is rates over the last minutes: areas upon each other.
type chart struct {
	Label string // of the whole picture, for those who do not see it
	Areas []area
	Lines []grid
	Times []grid
	Marks []mark // what a pointer is told
}

// An area is the rate of one outcome.
type area struct {
	Name, Color, Path string
	Now               string // the rate of the last interval
}

// A grid is a line across the field and what stands beside it.
type grid struct {
	At    float64
	Label string
}

// A mark covers an interval, and tells its rates.
type mark struct {
	X, Width float64
	Title    string
}

// drawChart draws the outcomes from first to last, those that came at all.
func drawChart(all []interval, first, last int) chart {
	top := 0.0
	var came []int
	for reason := first; reason <= last; reason++ {
		for i := range all {
			if all[i].rate[reason] > 0 {
				came = append(came, reason)
				break
			}
		}
	}
	for i := range all {
		sum := 0.0
		for _, reason := range came {
			sum += all[i].rate[reason]
		}
		top = max(top, sum)
	}
	top = roundUp(top)
	c := chart{Times: times()}
	for i := range 3 {
		share := float64(i) / 2
		c.Lines = append(c.Lines, grid{chartFoot - share*(chartFoot-chartTop), rate(top * share)})
	}
	if len(came) == 0 {
		name := "allowed"
		if first > 0 {
			name = "denied"
		}
		c.Areas = []area{{Name: name, Color: fmt.Sprintf("r%d", first), Now: "0"}}
	}
	foot := make([]float64, len(all)) // what the areas so far come to
	for _, reason := range came {
		a := area{Name: reasonWords(reason), Color: fmt.Sprintf("r%d", reason), Path: steps(all, foot, reason, top), Now: "0"}
		if len(all) > 0 {
			a.Now = rate(all[len(all)-1].rate[reason])
		}
		c.Areas = append(c.Areas, a)
	}
	for i := range all {
		c.Marks = append(c.Marks, markOf(&all[i], came))
	}
	return c
}

// steps is the outline of one area. Each interval has one height, as only its average is
// known. It adds the area to foot.
func steps(all []interval, foot []float64, reason int, top float64) string {
	var over, under strings.Builder
	y := func(rate float64) float64 { return chartFoot - rate/top*(chartFoot-chartTop) }
	for i := range all {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&over, "%s%.1f %.1fH%.1f", command, x(all[i].from), y(foot[i]+all[i].rate[reason]), x(all[i].to))
	}
	for i := len(all) - 1; i >= 0; i-- {
		fmt.Fprintf(&under, "L%.1f %.1fH%.1f", x(all[i].to), y(foot[i]), x(all[i].from))
		foot[i] += all[i].rate[reason]
	}
	if len(all) == 0 {
		return ""
	}
	return over.String() + under.String() + "Z"
}

func markOf(i *interval, reasons []int) mark {
	m := mark{X: x(i.from), Title: fmt.Sprintf("%s to %s ago", brief(i.from), brief(i.to))}
	m.Width = max(0, x(i.to)-m.X)
	for _, reason := range reasons {
		m.Title += fmt.Sprintf("\n%s %s/s", reasonWords(reason), rate(i.rate[reason]))
	}
	return m
}

// x is where in the field a time is that long ago.
func x(ago time.Duration) float64 {
	share := 1 - float64(ago)/float64(Span)
	return chartLeft + (chartRight-chartLeft)*min(max(share, 0), 1)
}

func times() (all []grid) {
	for _, ago := range []time.Duration{Span, Span / 2, 0} {
		label := "now"
		if ago > 0 {
			label = fmt.Sprintf("%d min ago", ago/time.Minute)
		}
		all = append(all, grid{x(ago), label})
	}
	return all
}

// roundUp returns a number that reads well and is not below v.
func roundUp(v float64) float64 {
	if v <= 1 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 4, 6, 8} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}

// rate writes a number per second as short as it can be read.
func rate(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	}
	if v < 1 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// reasonWords is how an outcome reads in a sentence.
func reasonWords(reason int) string {
	return strings.ReplaceAll(metrics.ReasonName(limiter.Reason(reason)), "_", " ")
}
