package policy

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// defaultPer is the period of a window that gives none.
const defaultPer = time.Minute

const day = 24 * time.Hour

// parsePer reads a period: a Go duration as 500ms or 1m30s, or whole days as 1d.
func parsePer(s string) (time.Duration, bool) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		n, ok := parseDigits(digits)
		if !ok || n > int64(math.MaxInt64/day) {
			return 0, false
		}
		return time.Duration(n) * day, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// formatPer is the inverse of parsePer, in the shortest of its forms.
func formatPer(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits are the units of a size, longest suffix first among those that end alike.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1}, {"", 1},
}

// parseSize reads a number of bytes: 10MiB, 500kB, 1048576. It must be at least 1.
func parseSize(s string) (int64, bool) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, ok := parseDigits(digits)
		if !ok || n < 1 || n > math.MaxInt64/u.bytes {
			return 0, false
		}
		return n * u.bytes, true
	}
	return 0, false
}

// parseDigits reads a whole number of decimal digits alone: no sign, no
// underscores, and no leading zero, which YAML once took for octal.
func parseDigits(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}
