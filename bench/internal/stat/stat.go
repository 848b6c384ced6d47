// Package stat summarises repeated measurements. It prefers medians and quartiles to
// means: on a machine that others use as well, a few bad rounds say nothing of what is
// measured.
package stat

import (
	"cmp"
	"math"
	"slices"
)

// Quantile returns the smallest of the sorted values that is not below the share q,
// from 0 to 1, of all of them; the zero value if there are none.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var none T
		return none
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Median returns the value in the middle, or the mean of the two that are: NaN if there
// are none.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// A Spread says how repeated measurements of one thing lie.
type Spread struct {
	Least    float64 `json:"least"`
	Quarter  float64 `json:"quarter"`
	Median   float64 `json:"median"`
	Quarter3 float64 `json:"three_quarters"`
	Most     float64 `json:"most"`
}

// SpreadOf summarises values, of which there must be at least one.
func SpreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	return Spread{
		Least:    sorted[0],
		Quarter:  Quantile(sorted, 0.25),
		Median:   Median(sorted),
		Quarter3: Quantile(sorted, 0.75),
		Most:     sorted[len(sorted)-1],
	}
}

// Ratios divides each of a by the one of b that was measured in the same round. Both
// must have the same length.
func Ratios(a, b []float64) []float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}
