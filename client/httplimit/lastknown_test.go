package httplimit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/limiter/contract"
)

func TestLastKnown(t *testing.T) {
	const size = 100
	known, err := httplimit.NewLastKnown(size)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	see := func(key string, remaining uint32) {
		known.RateLimit(key, 10, client.Decision{
			Allowed: true, Limit: 60, Remaining: remaining, Reset: 30 * time.Second, Exactness: client.Exact,
		}, now)
	}
	look := func(key string, after time.Duration) contract.RateLimit {
		return known.RateLimit(key, 10, client.Decision{Allowed: true}, now.Add(after))
	}

	nothing := contract.RateLimit{Limit: 10, Remaining: 10}
	if got := look("a", 0); got != nothing {
		t.Errorf("never seen: %+v", got)
	}
	see("a", 41)
	see("a", 40)
	if got, want := look("a", 20*time.Second), (contract.RateLimit{Limit: 60, Remaining: 40, Reset: 10 * time.Second}); got != want {
		t.Errorf("20 s later: %+v, want %+v", got, want)
	}
	if got := look("a", time.Minute); got.Reset != 0 {
		t.Errorf("a minute later: %+v, want no reset in the past", got)
	}

	// A key that is seen again and again stays; of the others the oldest go.
	for i := range 10 * size {
		see(fmt.Sprint("other", i), 1)
		see("a", 40)
	}
	if got := look("a", 0); got.Remaining != 40 {
		t.Errorf("a busy key was forgotten: %+v", got)
	}
	if got := look("other0", 0); got != nothing {
		t.Errorf("the oldest key of many is still known: %+v", got)
	}
	remembered := 0
	for i := range 10 * size {
		if look(fmt.Sprint("other", i), 0) != nothing {
			remembered++
		}
	}
	if remembered < size/2-1 || remembered > size {
		t.Errorf("%d keys are remembered, want at most %d and at least half", remembered, size)
	}
}

func TestLastKnownHoldsNoKey(t *testing.T) {
	known, err := httplimit.NewLastKnown(2)
	if err != nil {
		t.Fatal(err)
	}
	known.RateLimit("sk_live_secret", 1, client.Decision{Limit: 1, Exactness: client.Exact}, time.Now())
	if s := fmt.Sprintf("%#v", known); strings.Contains(s, "sk_live_secret") {
		t.Errorf("the key is in %s", s)
	}
	if _, err := httplimit.NewLastKnown(1); err == nil {
		t.Error("a size of 1 was taken")
	}
}
