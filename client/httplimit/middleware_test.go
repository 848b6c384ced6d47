package httplimit_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
)

func TestTenRequestsAndTheEleventh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t)
		h := limited(t, c, config(), nil)
		for i := range 10 {
			w := serve(h, request("GET"))
			if w.Code != http.StatusNoContent || w.Header().Get("Retry-After") != "" {
				t.Fatalf("request %d: %d, Retry-After %q", i+1, w.Code, w.Header().Get("Retry-After"))
			}
			wantLimit(t, w.Header(), "10", strconv.Itoa(9-i))
		}
		w := serve(h, request("GET"))
		wantError(t, w, 429, contract.RateLimitExceeded)
		wantLimit(t, w.Header(), "10", "0")
		// 42.5 s, rounded up; the bubble's clock stands on a whole second.
		if got := w.Header().Get("Retry-After"); got != "43" {
			t.Errorf("Retry-After %s, want 43", got)
		}
		if got, want := w.Header().Get(contract.HeaderReset), fmt.Sprint(time.Now().Unix()+43); got != want {
			t.Errorf("reset %s, want %s: as far away as Retry-After says", got, want)
		}
	})
}

func TestDenialsByTheContract(t *testing.T) {
	for _, tt := range []struct {
		reason  client.Reason
		status  int
		code    contract.Code
		message string // part of it
		wait    [2]int // Retry-After in seconds, from and to; 0: none
	}{
		{client.RateLimited, 429, contract.RateLimitExceeded, "", [2]int{7, 7}},
		{client.ConcurrencyLimited, 429, contract.RateLimitExceeded, "concurrent runs", [2]int{7, 7}},
		{client.CostExceedsLimit, 422, contract.ValidationError, "/cost", [2]int{}},
		{client.KeyUnknown, 401, contract.InvalidAPIKey, "", [2]int{}},
		{client.KeyRevoked, 401, contract.InvalidAPIKey, "", [2]int{}},
		{client.KeySuspended, 403, contract.Forbidden, "suspended", [2]int{}},
		{client.TableFull, 503, contract.ServiceUnavailable, "", [2]int{30, 60}},
		{client.Reason(99), 503, contract.ServiceUnavailable, "", [2]int{30, 60}},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+tt.reason.String(), func(t *testing.T) {
				const wait = 6300 * time.Millisecond
				d := client.Decision{Limit: 60, Remaining: 3, Reason: tt.reason, RetryAfter: wait, Exactness: client.Exact}
				h := limited(t, &told{
					decision: d,
					grant:    client.Grant{Reason: tt.reason, RetryAfter: wait, Exactness: client.Exact, Decision: d},
				}, config(), func(http.ResponseWriter, *http.Request) { t.Error("a denied request was served") })
				w := serve(h, request(method))
				if m := wantError(t, w, tt.status, tt.code); !strings.Contains(m, tt.message) {
					t.Errorf("message %q does not say %q", m, tt.message)
				}
				wantLimit(t, w.Header(), "60", "3")
				got, _ := strconv.Atoi(w.Header().Get("Retry-After"))
				if got < tt.wait[0] || got > tt.wait[1] {
					t.Errorf("Retry-After %d, want %v", got, tt.wait)
				}
			})
		}
	}
}

func TestUndecidedFollowsThePolicy(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			c, limiter := connected(t)
			open, openLimiter := connected(t, client.WithPolicy(client.FailOpen))
			for _, l := range []*fakelimiter.Limiter{limiter, openLimiter} {
				l.Before("Check", fakelimiter.Fail(codes.Unavailable))
				l.Before("Acquire", fakelimiter.Fail(codes.Unavailable))
			}
			w := serve(limited(t, c, config(), nil), request(method))
			wantError(t, w, 503, contract.ServiceUnavailable)
			wantLimit(t, w.Header(), "60", "60")
			if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); wait < 30 || wait > 60 {
				t.Errorf("%s, fail closed: Retry-After %d", method, wait)
			}
			w = serve(limited(t, open, config(), nil), request(method))
			if w.Code != http.StatusNoContent {
				t.Errorf("%s, fail open: %d %s", method, w.Code, w.Body)
			}
			wantLimit(t, w.Header(), "60", "60")
		})
	}
}

func TestLastKnownValuesWithoutADecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &told{decision: client.Decision{
			Allowed: true, Limit: 600, Remaining: 17, Reset: 40 * time.Second, Exactness: client.Exact,
		}}
		h := limited(t, limiter, config(), nil)
		serve(h, request("GET"))
		seen := time.Now()

		limiter.decision, limiter.err = client.Decision{}, &client.Error{GRPC: codes.Unavailable}
		time.Sleep(10 * time.Second)
		w := serve(h, request("GET"))
		wantLimit(t, w.Header(), "600", "17")
		if got, want := w.Header().Get(contract.HeaderReset), fmt.Sprint(seen.Unix()+40); got != want {
			t.Errorf("reset %s, want %s as before", got, want)
		}
		other := request("GET")
		other.Header.Set("Authorization", "sk_live_2")
		wantLimit(t, serve(h, other).Header(), "60", "60")
	})
}

func TestUnknownKeyHasNothingLeft(t *testing.T) {
	h := limited(t, &told{decision: client.Decision{Reason: client.KeyUnknown, Exactness: client.Exact}}, config(), nil)
	w := serve(h, request("GET"))
	wantError(t, w, 401, contract.InvalidAPIKey)
	wantLimit(t, w.Header(), "60", "0")
}

func TestRefusedKeysAreNotAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		key  string
		err  error
		want contract.Error
	}{
		"missing":    {"", errors.New("there is no Authorization: sk_live_x"), contract.Error{Code: contract.InvalidAPIKey}},
		"empty":      {"", nil, contract.Error{Code: contract.InvalidAPIKey}},
		"too long":   {strings.Repeat("k", 257), nil, contract.Error{Code: contract.InvalidAPIKey}},
		"not UTF-8":  {"sk_live_\xff", nil, contract.Error{Code: contract.InvalidAPIKey}},
		"own answer": {"", fmt.Errorf("lookup: %w", contract.Error{Code: contract.Forbidden, Message: "Not here."}), contract.Error{Code: contract.Forbidden, Message: "Not here."}},
	} {
		t.Run(name, func(t *testing.T) {
			limiter := &told{}
			cfg := config()
			cfg.Key = func(*http.Request) (string, string, error) { return tt.key, "", tt.err }
			w := serve(limited(t, limiter, cfg, nil), request("GET"))
			message := wantError(t, w, tt.want.Status(), tt.want.Code)
			if message != tt.want.Body().Message {
				t.Errorf("message %q", message)
			}
			wantLimit(t, w.Header(), "10", "10")
			if len(limiter.checks) != 0 {
				t.Error("the limiter was asked")
			}
		})
	}
}

// A key of 256 bytes is the longest that the limiter takes.
func TestLongestKeyIsAsked(t *testing.T) {
	limiter := &told{decision: client.Decision{Allowed: true, Limit: 1, Exactness: client.Exact}}
	r := request("GET")
	r.Header.Set("Authorization", strings.Repeat("k", 256))
	if w := serve(limited(t, limiter, config(), nil), r); w.Code != 204 || len(limiter.checks) != 1 {
		t.Errorf("%d, asked %d times", w.Code, len(limiter.checks))
	}
}

// How the limiter is called is none of the client's business.
func TestRefusedCallIsInternal(t *testing.T) {
	var log bytes.Buffer
	cfg := config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	limiter := &told{err: &client.Error{Code: contract.InvalidRequest, GRPC: codes.InvalidArgument, Message: "/tier is unknown"}}
	w := serve(limited(t, limiter, cfg, nil), request("GET"))
	if m := wantError(t, w, 500, contract.InternalError); strings.Contains(m, "tier") {
		t.Errorf("the client is told %q", m)
	}
	if s := log.String(); !strings.Contains(s, "/tier is unknown") || !strings.Contains(s, w.Header().Get("X-Request-Id")) || strings.Contains(s, "sk_live_1") {
		t.Errorf("log: %s", s)
	}

	limiter.err = &client.Error{Code: contract.Conflict, GRPC: codes.AlreadyExists}
	wantError(t, serve(limited(t, limiter, cfg, nil), request("POST")), 409, contract.Conflict)
}

func TestCost(t *testing.T) {
	limiter := &told{decision: client.Decision{Allowed: true, Limit: 1, Exactness: client.Exact}}
	for _, tt := range []struct{ cost, want uint32 }{{0, 0}, {7, 7}, {4_000_000_000, 1_000_000_000}} {
		cfg := config()
		cfg.Cost = func(*http.Request) uint32 { return tt.cost }
		serve(limited(t, limiter, cfg, nil), request("GET"))
		if got := limiter.checks[len(limiter.checks)-1].Cost; got == nil || *got != tt.want {
			t.Errorf("cost %d was asked as %v", tt.cost, got)
		}
	}
}

func TestConfigIsValidated(t *testing.T) {
	key := config().Key
	for field, cfg := range map[string]httplimit.Config{
		"Key":    {},
		"RunTTL": {Key: key, RunTTL: time.Millisecond},
		"Limits": {Key: key, Limits: map[string]uint32{"pro": 1}},
	} {
		if _, err := httplimit.New(&told{}, cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want an error that names the field", field, err)
		}
	}
}
