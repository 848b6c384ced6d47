package httplimit

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/contract"
)

// Denial returns what an API's client is told of a denied request or run, and
// its Retry-After: 0 if there is none. retryAfter is that of the decision or grant.
func Denial(reason client.Reason, retryAfter time.Duration) (contract.Error, time.Duration) {
	switch e := contract.Denial(reason.String()); e.Code {
	case contract.RateLimitExceeded:
		return e, retryAfter
	case contract.ServiceUnavailable: // TableFull, and what a newer limiter may have
		return Unavailable()
	default:
		return e, 0
	}
}

// Unavailable returns what an API's client is told when nothing could be
// decided, and its Retry-After: 30 to 60 seconds, at random.
func Unavailable() (contract.Error, time.Duration) {
	return contract.Error{Code: contract.ServiceUnavailable}, contract.UnavailableRetryAfter(rand.Float64())
}

// Failure returns what an API's client is told when a call of the limiter
// failed with err, and its Retry-After: 0 if there is none.
//
// Errors that are client.ErrUndecided are Unavailable. A run id that is taken is
// a conflict. Any other refusal is a fault in how the limiter is called, which
// is none of the client's business: internal_error, worth a line in the log.
func Failure(err error) (contract.Error, time.Duration) {
	if errors.Is(err, client.ErrUndecided) {
		return Unavailable()
	}
	var e *client.Error
	if errors.As(err, &e) && e.Code == contract.Conflict {
		return contract.Error{Code: contract.Conflict, Message: "A run with this id is under way for another task or tier."}, 0
	}
	return contract.Error{Code: contract.InternalError}, 0
}
