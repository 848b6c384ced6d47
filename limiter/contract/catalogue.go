package contract

import (
	"net/http"
	"slices"
)

// A Code names the exact reason of an error: what clients branch on. Codes are
// never renamed.
type Code string

// The codes, in the order of the contract page.
const (
	InvalidAPIKey           Code = "invalid_api_key"
	Forbidden               Code = "forbidden"
	InsufficientCredits     Code = "insufficient_credits"
	InvalidRequest          Code = "invalid_request"
	ValidationError         Code = "validation_error"
	PreflightFailed         Code = "preflight_failed"
	PayloadTooLarge         Code = "payload_too_large"
	NotFound                Code = "not_found"
	Gone                    Code = "gone"
	Conflict                Code = "conflict"
	SyncTimeoutUpgradeAsync Code = "sync_timeout_upgrade_async"
	RateLimitExceeded       Code = "rate_limit_exceeded"
	InternalError           Code = "internal_error"
	UpstreamError           Code = "upstream_error"
	ServiceUnavailable      Code = "service_unavailable"
	NotImplemented          Code = "not_implemented"
)

// Retry says whether a client may send a request again that failed, and how.
// The rule: 5xx, 408 and 429 may be retried, other 4xx never.
type Retry int

const (
	// RetryNever: the same request fails again, however long the client waits.
	RetryNever Retry = iota
	// RetryAsync: at once, but as an asynchronous request, not as it was.
	RetryAsync
	// RetryAfter: as it was, after the wait that the Retry-After header gives.
	RetryAfter
	// RetryBackoff: as it was, with exponential backoff.
	RetryBackoff
)

// String returns never, async, after or backoff.
func (r Retry) String() string {
	switch r {
	case RetryAsync:
		return "async"
	case RetryAfter:
		return "after"
	case RetryBackoff:
		return "backoff"
	default:
		return "never"
	}
}

// The categories of errors.
const (
	CategoryAuthentication = "authentication"
	CategoryBilling        = "billing"
	CategoryValidation     = "validation"
	CategoryResources      = "resources"
	CategoryRuntime        = "runtime"
)

// An Entry is what the contract says about one code.
type Entry struct {
	Code     Code
	Status   int    // HTTP status, 400 to 599
	Category string // one of the Category constants
	Message  string // the default; like every message, safe to show to an end user
	Retry    Retry
}

// catalogue is never written to.
var catalogue = [...]Entry{
	{InvalidAPIKey, http.StatusUnauthorized, CategoryAuthentication,
		"The API key is missing, malformed or no longer valid.", RetryNever},
	{Forbidden, http.StatusForbidden, CategoryAuthentication,
		"This API key is not permitted to do that.", RetryNever},

	{InsufficientCredits, http.StatusPaymentRequired, CategoryBilling,
		"There are too few credits left for this request.", RetryNever},

	{InvalidRequest, http.StatusBadRequest, CategoryValidation,
		"The request is not well formed.", RetryNever},
	// Whoever writes this one should give a message with a JSON pointer to the field.
	{ValidationError, http.StatusUnprocessableEntity, CategoryValidation,
		"A field of the request has a value that is not accepted.", RetryNever},
	{PreflightFailed, http.StatusBadRequest, CategoryValidation,
		"Something that this request needs is missing.", RetryNever},
	{PayloadTooLarge, http.StatusRequestEntityTooLarge, CategoryValidation,
		"The upload is larger than your tier allows.", RetryNever},

	{NotFound, http.StatusNotFound, CategoryResources,
		"There is no such resource.", RetryNever},
	{Gone, http.StatusGone, CategoryResources,
		"This resource is no longer kept.", RetryNever},
	{Conflict, http.StatusConflict, CategoryResources,
		"The request does not fit the state of the resource.", RetryNever},

	// The one 4xx besides 429 that may be retried. As it was, it would time out again.
	{SyncTimeoutUpgradeAsync, http.StatusRequestTimeout, CategoryRuntime,
		"This takes longer than a synchronous request may. Send it again with async set to true and poll its task.", RetryAsync},
	{RateLimitExceeded, http.StatusTooManyRequests, CategoryRuntime,
		"Too many requests. Please wait a moment and try again.", RetryAfter},
	{InternalError, http.StatusInternalServerError, CategoryRuntime,
		"Something went wrong on our side. Support can look it up by the request id.", RetryBackoff},
	{UpstreamError, http.StatusBadGateway, CategoryRuntime,
		"A service that this request depends on has failed. Please try again shortly.", RetryBackoff},
	{ServiceUnavailable, http.StatusServiceUnavailable, CategoryRuntime,
		"The service is at capacity or under maintenance. Please try again in a minute.", RetryAfter},
	// The contract page's table sends clients to support. Its rule for 5xx covers
	// 501 too, and the rule is what clients are built on: so backoff, though it
	// seldom helps.
	{NotImplemented, http.StatusNotImplemented, CategoryRuntime,
		"This feature is not available here yet.", RetryBackoff},
}

// Catalogue returns every code once, in the order of the contract page. The
// caller owns the slice.
func Catalogue() []Entry { return slices.Clone(catalogue[:]) }

// Lookup returns the entry of code, and false if the contract has no such code.
func Lookup(code Code) (Entry, bool) {
	for _, e := range catalogue {
		if e.Code == code {
			return e, true
		}
	}
	return Entry{}, false
}

// ForStatus returns the code that stands for an HTTP status when nothing better
// is known. A status that the contract lacks gets the nearest code, whose own
// status may be another: 504 is upstream_error (502), any other 4xx
// invalid_request (400), all the rest internal_error (500).
func ForStatus(status int) Code {
	if status == http.StatusGatewayTimeout {
		return UpstreamError
	}
	// Of the two codes with status 400, the first is the general one.
	for _, e := range catalogue {
		if e.Status == status {
			return e.Code
		}
	}
	if status >= 400 && status <= 499 {
		return InvalidRequest
	}
	return InternalError
}
