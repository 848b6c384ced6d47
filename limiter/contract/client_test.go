package contract

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"
)

// The branches that the contract page's sample client has, in their order.
const (
	branchPreflight = "preflight"   // tell what is missing
	branchBilling   = "billing"     // show how to pay
	branchWait      = "retry-after" // sleep as Retry-After says, then retry
	branchBackoff   = "backoff"     // retry with exponential backoff
	branchPermanent = "permanent"   // give up
)

// retryAfterServed is the Retry-After, in seconds, of the responses that carry it.
const retryAfterServed = 17

// clientBranches says, for each code, what three texts make of it: the sample
// client (branch and its wait in seconds), our rule (Catalogue), and the
// remedy in the contract page's table of codes.
var clientBranches = []struct {
	code   Code
	branch string
	wait   int
	rule   Retry
	// hopeful: the page's table leaves hope that sending the request again,
	// perhaps as another kind of request, helps with nothing else changed.
	hopeful bool
}{
	{InvalidAPIKey, branchPermanent, 0, RetryNever, false},
	{Forbidden, branchPermanent, 0, RetryNever, false},
	{InsufficientCredits, branchBilling, 0, RetryNever, false},
	{InvalidRequest, branchPermanent, 0, RetryNever, false},
	{ValidationError, branchPermanent, 0, RetryNever, false},
	{PreflightFailed, branchPreflight, 0, RetryNever, false},
	{PayloadTooLarge, branchPermanent, 0, RetryNever, false},
	{NotFound, branchPermanent, 0, RetryNever, false},
	{Gone, branchPermanent, 0, RetryNever, false},
	{Conflict, branchPermanent, 0, RetryNever, false},
	// The sample gives up; rule and table say to send it again as asynchronous.
	{SyncTimeoutUpgradeAsync, branchPermanent, 0, RetryAsync, true},
	{RateLimitExceeded, branchWait, retryAfterServed, RetryAfter, true},
	{InternalError, branchBackoff, 1, RetryBackoff, true},
	{UpstreamError, branchBackoff, 1, RetryBackoff, true},
	{ServiceUnavailable, branchBackoff, 1, RetryAfter, true}, // the sample does not read the header here
	// Sample and rule retry, as for all 5xx; the table knows only the support.
	{NotImplemented, branchBackoff, 1, RetryBackoff, false},
}

// serveCode answers with the error that the path names: /gone. Responses that
// carry Retry-After by the contract have it, unless the query says bare. A path
// that names no code is answered 200.
func serveCode(w http.ResponseWriter, r *http.Request) {
	e, ok := Lookup(Code(r.URL.Path[1:]))
	if !ok {
		return
	}
	wait := retryAfterServed * time.Second
	if e.Retry != RetryAfter || r.URL.Query().Has("bare") {
		wait = 0
	}
	RateLimit{Limit: 60, Remaining: 0, Reset: wait, RetryAfter: wait}.Set(w.Header(), time.Unix(1800000045, 0))
	WriteError(w, Error{Code: e.Code})
}

// sampleBranch is the sample client's branching in Go.
func sampleBranch(status int, code Code, retryAfter string) (branch string, wait int) {
	switch {
	case code == PreflightFailed:
		return branchPreflight, 0
	case code == InsufficientCredits:
		return branchBilling, 0
	case code == RateLimitExceeded:
		if wait, err := strconv.Atoi(retryAfter); err == nil {
			return branchWait, wait
		}
		return branchWait, 30
	case status >= 500:
		return branchBackoff, 1
	default:
		return branchPermanent, 0
	}
}

func TestSampleClientBranches(t *testing.T) {
	for i, e := range Catalogue() {
		want := clientBranches[i]
		w := httptest.NewRecorder()
		serveCode(w, httptest.NewRequest(http.MethodPost, "/"+string(e.Code), http.NoBody))
		var body Body
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		branch, wait := sampleBranch(w.Code, body.Error, w.Header().Get(HeaderRetryAfter))
		if e.Code != want.code || branch != want.branch || wait != want.wait {
			t.Errorf("%s: branch %s, wait %d; want %s, %s, %d", e.Code, branch, wait, want.code, want.branch, want.wait)
		}
		if e.Retry != want.rule {
			t.Errorf("%s: the rule says %v, want %v", e.Code, e.Retry, want.rule)
		}
	}
	if len(clientBranches) != len(Catalogue()) {
		t.Errorf("the table has %d codes, the catalogue %d", len(clientBranches), len(Catalogue()))
	}
}

// The contract is at odds with itself over two codes, and no more.
// docs/contract.md explains both.
func TestWherePageAndRuleDiffer(t *testing.T) {
	var got []Code
	for _, c := range clientBranches {
		sample := c.branch == branchWait || c.branch == branchBackoff
		rule := c.rule != RetryNever
		if sample != rule || rule != c.hopeful {
			got = append(got, c.code)
		}
	}
	want := []Code{SyncTimeoutUpgradeAsync, NotImplemented}
	if !slices.Equal(got, want) {
		t.Errorf("sample, rule and table differ over %v, want %v", got, want)
	}
}
