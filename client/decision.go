package client

import (
	"strconv"
	"time"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Decision says whether a request may pass, and what its key has left.
type Decision struct {
	// Allowed says whether the request may pass. If so its cost was counted,
	// unless Exactness is Undecided.
	Allowed bool
	// Limit of the binding window, in units. 0: unknown, as for a key without
	// a tier or when nothing was decided.
	Limit uint32
	// Remaining units that would pass now, from 0 to Limit.
	Remaining uint32
	// Reset is how long until Remaining next grows; 0: it is as large as it gets.
	// On a denial it equals RetryAfter, if there is one.
	Reset time.Duration
	// RetryAfter is how long until the denied cost would pass with no other
	// traffic. 0: it was allowed, or no wait helps.
	RetryAfter time.Duration
	// Reason of a denial.
	Reason Reason
	// Exactness says how sure the answer is.
	Exactness Exactness
	// Cached says that the client repeats a denial of the same cost that it got about a
	// second ago at most, and that still stands, or denies as the last unit was taken.
	Cached bool
	// Windows are each window's own numbers, in the tier's order, if asked for.
	Windows []WindowState
}

// Decided reports whether the limiter decided this. If not, Allowed follows the
// fail policy and all else is zero.
func (d Decision) Decided() bool { return d.Exactness != Undecided }

// A WindowState is one window of a tier as it stands for a key.
type WindowState struct {
	Limit      uint32        // units that may pass in each period
	Per        time.Duration // length of the period
	Used       uint32        // units counted in the period that ends now; above Limit if that was lowered
	Remaining  uint32        // units that this window would let pass now
	Reset      time.Duration // until Remaining grows; 0: nothing is counted
	RetryAfter time.Duration // what this window alone would make the request wait; 0: nothing, or for ever
}

// A Reason says why a request or a run was denied. A newer server may send one
// that is not listed here.
type Reason int32

// The reasons. Their numbers are those of the API.
const (
	NotDenied          Reason = iota // allowed, or undecided
	RateLimited                      // a window has too little left
	ConcurrencyLimited               // the key has as many runs as its tier allows
	CostExceedsLimit                 // no wait can help: the cost is above a window's limit
	KeyUnknown                       // the directory does not list the key
	KeyRevoked                       // the directory lists the key as revoked
	KeySuspended                     // the directory lists the key as suspended
	TableFull                        // the key is new and the node can hold no more
)

// String returns the reason in lower case, as rate_limited.
func (r Reason) String() string {
	switch r {
	case NotDenied:
		return "not_denied"
	case RateLimited:
		return "rate_limited"
	case ConcurrencyLimited:
		return "concurrency_limited"
	case CostExceedsLimit:
		return "cost_exceeds_limit"
	case KeyUnknown:
		return "key_unknown"
	case KeyRevoked:
		return "key_revoked"
	case KeySuspended:
		return "key_suspended"
	case TableFull:
		return "table_full"
	}
	return "reason_" + strconv.Itoa(int(r))
}

// An Exactness says how sure an answer is.
type Exactness int32

// The degrees of exactness. Their numbers are those of the API.
const (
	// Undecided: the limiter did not answer; what is allowed is the fail policy's word.
	Undecided Exactness = iota
	// Exact: decided from the complete history.
	Exact
	// Recovering: decided from a copy that may lack a dead node's last hits.
	Recovering
	// Degraded: decided by the limiter's policy, without the history.
	Degraded
)

// String returns the exactness in lower case, as exact.
func (e Exactness) String() string {
	switch e {
	case Undecided:
		return "undecided"
	case Exact:
		return "exact"
	case Recovering:
		return "recovering"
	case Degraded:
		return "degraded"
	}
	return "exactness_" + strconv.Itoa(int(e))
}

// readDecision returns d as a Decision; d may be nil.
func readDecision(d *sluicev1.Decision) Decision {
	out := Decision{
		Allowed:    d.GetAllowed(),
		Limit:      d.GetLimit(),
		Remaining:  d.GetRemaining(),
		Reset:      millis(d.GetResetAfterMs()),
		RetryAfter: millis(d.GetRetryAfterMs()),
		Reason:     Reason(d.GetReason()),
		Exactness:  Exactness(d.GetExactness()),
	}
	for _, w := range d.GetWindows() {
		out.Windows = append(out.Windows, WindowState{
			Limit:      w.GetLimit(),
			Per:        millis(w.GetPerMs()),
			Used:       w.GetUsed(),
			Remaining:  w.GetRemaining(),
			Reset:      millis(w.GetResetAfterMs()),
			RetryAfter: millis(w.GetRetryAfterMs()),
		})
	}
	return out
}

func millis(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }
