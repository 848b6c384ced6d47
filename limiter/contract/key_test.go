package contract_test

import (
	"strings"
	"testing"

	"github.com/overten/sluice/limiter/contract"
)

func TestAPIKey(t *testing.T) {
	long := strings.Repeat("k", 256)
	for _, c := range []struct{ authorization, apiKey, want string }{
		{"Bearer sk_live_1", "", "sk_live_1"},
		{"bearer  sk_live_1 ", "", "sk_live_1"},
		{"Bearer\tsk_live_1", "", "sk_live_1"},
		{"Bearer sk_live_1", "sk_live_1", "sk_live_1"},
		{"Bearer sk_live_1", "other", ""}, // who is asked next might take the other
		{"Bearer\tsk_live_1", "other", ""},
		{"Bearer sk_live_1,Bearer sk_live_2", "", ""}, // two headers, joined
		{"", "sk_live_1,sk_live_2", ""},
		{"", "sk live", ""},
		{"", "sk_live_1\x1a", ""},
		{"", "sk_live_1", "sk_live_1"},
		{"Bearer", "sk_live_1", "sk_live_1"},
		{"Bearer  ", "sk_live_1", "sk_live_1"}, // a blank one hides no other
		{"Basic dXNlcg==", "sk_live_1", "sk_live_1"},
		{"Basic dXNlcg==", "", ""},
		{"", "", ""},
		{"", long, long},
		{"", long + "k", ""},
		{"Bearer " + long + "k", "sk_live_1", ""}, // one that is wrong is not passed over
		{"", "caf\xe9", ""},
		{"Bearer caf\xe9", "", ""},
		{"", "schlüssel", "schlüssel"},
	} {
		if got := contract.APIKey(c.authorization, c.apiKey); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.authorization, c.apiKey, got, c.want)
		}
	}
}
