package contract_test

import (
	"testing"

	"github.com/overten/sluice/limiter/contract"
)

func TestDenial(t *testing.T) {
	for reason, want := range map[string]struct {
		code   contract.Code
		status int
	}{
		"RATE_LIMITED":               {contract.RateLimitExceeded, 429},
		"rate_limited":               {contract.RateLimitExceeded, 429},
		"REASON_RATE_LIMITED":        {contract.RateLimitExceeded, 429},
		"REASON_CONCURRENCY_LIMITED": {contract.RateLimitExceeded, 429},
		"REASON_COST_EXCEEDS_LIMIT":  {contract.ValidationError, 422},
		"REASON_KEY_UNKNOWN":         {contract.InvalidAPIKey, 401},
		"REASON_KEY_REVOKED":         {contract.InvalidAPIKey, 401},
		"REASON_KEY_SUSPENDED":       {contract.Forbidden, 403},
		"REASON_TABLE_FULL":          {contract.ServiceUnavailable, 503},
		"REASON_OF_A_NEWER_VERSION":  {contract.ServiceUnavailable, 503},
	} {
		if got := contract.Denial(reason); got.Code != want.code || got.Status() != want.status {
			t.Errorf("%s: %v (%d), want %v (%d)", reason, got.Code, got.Status(), want.code, want.status)
		}
	}
}
