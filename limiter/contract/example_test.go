package contract_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/overten/sluice/limiter/contract"
)

// A denial: the headers first, then the error.
func ExampleWriteError() {
	w := httptest.NewRecorder()
	now := time.Unix(1800000000, 250e6)
	wait := 16200 * time.Millisecond

	contract.RateLimit{Limit: 10, Remaining: 0, Reset: wait, RetryAfter: wait}.Set(w.Header(), now)
	contract.WriteError(w, contract.Error{Code: contract.RateLimitExceeded})

	fmt.Println(w.Code)
	for _, name := range []string{contract.HeaderLimit, contract.HeaderRemaining, contract.HeaderReset, contract.HeaderRetryAfter} {
		fmt.Printf("%s: %s\n", name, w.Header().Get(name))
	}
	fmt.Print(w.Body)
	// Output:
	// 429
	// X-RateLimit-Limit: 10
	// X-RateLimit-Remaining: 0
	// X-RateLimit-Reset: 1800000017
	// Retry-After: 17
	// {"success":false,"error":"rate_limit_exceeded","message":"Too many requests. Please wait a moment and try again."}
}
