package stat

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{nil, 0.5, 0},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.991, 100},
		{hundred, 1, 100},
		{hundred[:1], 0.01, 1},
		{hundred[:4], 0.25, 1},
		{hundred[:4], 0.26, 2},
	} {
		if got := Quantile(c.of, c.q); got != c.want {
			t.Errorf("Quantile of %d values at %v = %d, want %d", len(c.of), c.q, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1000, 1, 2}, 3},
	} {
		before := slices.Clone(c.of)
		if got := Median(c.of); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", before, got, c.want)
		}
		if !slices.Equal(c.of, before) {
			t.Errorf("Median reordered %v into %v", before, c.of)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v, want NaN", got)
	}
}

func TestSpreadOf(t *testing.T) {
	got := SpreadOf([]float64{5, 3, 1, 8, 2, 7, 6, 4})
	if want := (Spread{Least: 1, Quarter: 2, Median: 4.5, Quarter3: 6, Most: 8}); got != want {
		t.Errorf("SpreadOf = %+v, want %+v", got, want)
	}
}

// A slow round slows both sides: what counts is each pair's own ratio, so the median of
// the ratios differs from the ratio of the medians.
func TestRatios(t *testing.T) {
	got := Ratios([]float64{12, 24, 11}, []float64{10, 20, 10})
	if want := []float64{1.2, 1.2, 1.1}; !slices.Equal(got, want) {
		t.Errorf("Ratios = %v, want %v", got, want)
	}
}
