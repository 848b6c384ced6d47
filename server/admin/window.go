package admin

import (
	"time"

	"github.com/overten/sluice/limiter"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// admission is units that were admitted at one time.
type admission struct {
	age   time.Duration
	units uint32
}

// window tells what w counts of a history, which is ordered from the oldest on.
func window(w limiter.Window, history []admission) *adminv1.Window {
	for len(history) > 0 && history[0].age >= w.Per {
		history = history[1:]
	}
	var used uint64
	for _, a := range history {
		used += uint64(a.units)
	}
	out := &adminv1.Window{Limit: w.Limit, PerMs: wait(w.Per), Used: used}
	// Remaining grows when so many units are gone. It stays 0 while more than the limit is
	// used, as after the limit was lowered.
	missing := uint64(1)
	if used < uint64(w.Limit) {
		out.Remaining = w.Limit - uint32(used)
	} else {
		missing = used - uint64(w.Limit) + 1
	}
	var gone uint64
	for _, a := range history {
		if gone += uint64(a.units); gone >= missing {
			out.ResetAfterMs = wait(w.Per - a.age)
			break
		}
	}
	return out
}
