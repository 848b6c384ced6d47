package httplimit_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/overten/sluice/client"
)

func TestRequestID(t *testing.T) {
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for name, tt := range map[string]struct {
		sent string
		kept bool
	}{
		"valid":    {"trace-1.a_B", true},
		"none":     {"", false},
		"too long": {strings.Repeat("x", 129), false},
		"hostile":  {"a\tb", false},
	} {
		t.Run(name, func(t *testing.T) {
			limiter := &told{decision: client.Decision{Allowed: true, Limit: 1, Exactness: client.Exact}}
			var inHeader, inContext string
			h := limited(t, limiter, config(), func(_ http.ResponseWriter, r *http.Request) {
				inHeader, inContext = r.Header.Get("X-Request-Id"), client.RequestID(r.Context())
			})
			r := request("GET")
			r.Header.Set("X-Request-Id", tt.sent)
			id := serve(h, r).Header().Get("X-Request-Id")
			if tt.kept && id != tt.sent || !tt.kept && !made.MatchString(id) {
				t.Errorf("sent %q, answered %q", tt.sent, id)
			}
			if inHeader != id || inContext != id || limiter.ids[0] != id {
				t.Errorf("answered %q; header %q, context %q, limiter %q", id, inHeader, inContext, limiter.ids[0])
			}
			if got := r.Header.Get("X-Request-Id"); got != tt.sent {
				t.Errorf("the caller's request was changed: %q", got)
			}
		})
	}
}
