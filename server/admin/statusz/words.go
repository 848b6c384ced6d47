package statusz

import (
	"fmt"
	"time"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// brief returns d in its two largest units, as it is to be read and not reckoned with.
func brief(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.Truncate(time.Second).String()
}

func millis[N uint32 | uint64](ms N) time.Duration { return time.Duration(ms) * time.Millisecond }

// grouped writes a whole number, of whichever type, with its digits in threes.
func grouped(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes an amount of memory.
func size(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

var exactness = map[adminv1.Exactness]string{
	adminv1.Exactness_EXACTNESS_UNSPECIFIED: "nothing can be decided at the moment",
	adminv1.Exactness_EXACTNESS_EXACT:       "exact: from the complete history",
	adminv1.Exactness_EXACTNESS_RECOVERING:  "recovering: from a copy that may lack a dead holder's last hits",
	adminv1.Exactness_EXACTNESS_DEGRADED:    "degraded: by policy, without the history",
}

var keyStatus = map[adminv1.KeyStatus]string{
	adminv1.KeyStatus_KEY_STATUS_UNKNOWN:   "unknown: the directory does not list it, and all its requests are denied",
	adminv1.KeyStatus_KEY_STATUS_SUSPENDED: "suspended: all its requests are denied",
	adminv1.KeyStatus_KEY_STATUS_REVOKED:   "revoked: all its requests are denied",
	adminv1.KeyStatus_KEY_STATUS_ACTIVE:    "active",
}
