package contract

import "strings"

// Denial returns what an API's client is told of a denied request or run. reason is the API's
// name of it: RATE_LIMITED in either case, with or without REASON_ before it. For one that is not known,
// which a newer limiter may have, and for TABLE_FULL it is service_unavailable.
func Denial(reason string) Error {
	switch strings.TrimPrefix(strings.ToUpper(reason), "REASON_") {
	case "RATE_LIMITED":
		return Error{Code: RateLimitExceeded}
	case "CONCURRENCY_LIMITED":
		return Error{
			Code:    RateLimitExceeded,
			Message: "This API key has as many concurrent runs as its tier allows. Please wait until one of them has finished.",
		}
	case "COST_EXCEEDS_LIMIT":
		return Error{Code: ValidationError, Message: "/cost: this request costs more than the tier's limit, so it can never pass."}
	case "KEY_UNKNOWN", "KEY_REVOKED":
		return Error{Code: InvalidAPIKey}
	case "KEY_SUSPENDED":
		return Error{Code: Forbidden, Message: "The organization of this API key is suspended."}
	}
	return Error{Code: ServiceUnavailable}
}
