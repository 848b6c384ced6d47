package contract

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRateLimitSet(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	at := time.Unix
	for _, tt := range []struct {
		name                                string
		now                                 time.Time
		r                                   RateLimit
		limit, remaining, reset, retryAfter string
	}{
		{"nothing counted, on the second", at(1000, 0), RateLimit{Limit: 60, Remaining: 60}, "60", "60", "1000", ""},
		{"nothing counted, just after it", at(1000, 1), RateLimit{Limit: 60, Remaining: 60}, "60", "60", "1001", ""},
		{"allowed, whole seconds", at(1000, 0), RateLimit{60, 42, 7 * s, 0}, "60", "42", "1007", ""},
		{"allowed, up to the second", at(1000, 500e6), RateLimit{60, 42, 500 * ms, 0}, "60", "42", "1001", ""},
		{"allowed, over the second", at(1000, 500e6), RateLimit{60, 42, 501 * ms, 0}, "60", "42", "1002", ""},
		{"denied, whole seconds", at(1000, 0), RateLimit{10, 0, 17 * s, 17 * s}, "10", "0", "1017", "17"},
		{"denied, a nanosecond more", at(1000, 0), RateLimit{10, 0, 17*s + 1, 17*s + 1}, "10", "0", "1018", "18"},
		{"denied, a nanosecond less", at(1000, 0), RateLimit{10, 0, 17*s - 1, 17*s - 1}, "10", "0", "1017", "17"},
		{"denied, one nanosecond", at(1000, 0), RateLimit{10, 0, 1, 1}, "10", "0", "1001", "1"},
		{"denied, within this second", at(1000, 100e6), RateLimit{10, 0, 800 * ms, 800 * ms}, "10", "0", "1001", "1"},
		{"denied for runs: the hint is no reset", at(1000, 0), RateLimit{10, 9, 40 * s, 4200 * ms}, "10", "9", "1040", "5"},
		{"negative durations count as none", at(1000, 0), RateLimit{10, 0, -s, -s}, "10", "0", "1000", ""},
		{"before 1970", at(-5, 1), RateLimit{1, 0, s, s}, "1", "0", "-3", "1"},
		{"largest values", at(0, 0), RateLimit{math.MaxUint32, math.MaxUint32, math.MaxInt64, math.MaxInt64},
			"4294967295", "4294967295", "9223372037", "9223372037"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			tt.r.Set(h, tt.now)
			for name, want := range map[string]string{
				HeaderLimit: tt.limit, HeaderRemaining: tt.remaining, HeaderReset: tt.reset, HeaderRetryAfter: tt.retryAfter,
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestRateLimitSetReplaces(t *testing.T) {
	old := func() http.Header {
		h := http.Header{}
		for _, name := range []string{HeaderLimit, HeaderRemaining, HeaderReset, HeaderRetryAfter} {
			h.Add(name, "of the upstream")
			h.Add(name, "twice")
		}
		return h
	}
	h := old()
	RateLimit{Limit: 10, Reset: time.Second, RetryAfter: time.Second}.Set(h, time.Unix(0, 0))
	for name, v := range h {
		if len(v) != 1 || v[0] == "of the upstream" {
			t.Errorf("%s is %q, want one new value", name, v)
		}
	}
	h = old()
	RateLimit{Limit: 10, Remaining: 1}.Set(h, time.Unix(0, 0))
	if got := h.Values(HeaderRetryAfter); len(got) != 2 {
		t.Errorf("without a wait, the response's own Retry-After became %q", got)
	}
}

// After a denial a client may sleep until X-RateLimit-Reset or for Retry-After
// seconds: both are long enough, and neither is too long by a second.
func TestBothWaitsSuffice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "sec"), rapid.Int64Range(0, 1e9-1).Draw(t, "nsec"))
		wait := time.Duration(rapid.Int64Range(1, int64(30*24*time.Hour)).Draw(t, "wait"))
		h := http.Header{}
		RateLimit{Limit: 10, Reset: wait, RetryAfter: wait}.Set(h, now)

		reset, err1 := strconv.ParseInt(h.Get(HeaderReset), 10, 64)
		seconds, err2 := strconv.ParseInt(h.Get(HeaderRetryAfter), 10, 64)
		if err1 != nil || err2 != nil || seconds < 1 {
			t.Fatalf("headers are %v", h)
		}
		for name, slept := range map[string]time.Duration{
			HeaderReset:      time.Unix(reset, 0).Sub(now),
			HeaderRetryAfter: time.Duration(seconds) * time.Second,
		} {
			if slept < wait || slept >= wait+time.Second {
				t.Fatalf("%s makes a client sleep %v, the wait is %v", name, slept, wait)
			}
		}
	})
}

// On the wire the headers are spelled as the contract does.
func TestSpell(t *testing.T) {
	h := http.Header{}
	RateLimit{Limit: 60, Remaining: 42, RetryAfter: time.Second}.Set(h, time.Unix(1000, 0))
	Spell(h)
	var wire strings.Builder
	if err := h.Write(&wire); err != nil {
		t.Fatal(err)
	}
	const want = "Retry-After: 1\r\nX-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 42\r\nX-RateLimit-Reset: 1000\r\n"
	if wire.String() != want {
		t.Errorf("wrote %q, want %q", wire.String(), want)
	}
	Spell(http.Header{}) // nothing to spell
}

func TestSetRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "1", 0: "1", 1: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60",
	} {
		h := http.Header{HeaderRetryAfter: {"9", "9"}}
		SetRetryAfter(h, d)
		if got := h.Values(HeaderRetryAfter); len(got) != 1 || got[0] != want {
			t.Errorf("SetRetryAfter(%v) wrote %q, want %s", d, got, want)
		}
	}
}

func TestUnavailableRetryAfter(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		u    float64
		want time.Duration
	}{
		{0, 30 * s}, {0.5, 45 * s}, {0.9, 57 * s}, {math.Nextafter(1, 0), 60*s - 1},
		{-1, 30 * s}, {2, 60 * s}, {math.NaN(), 30 * s}, {math.Inf(1), 60 * s},
	} {
		if got := UnavailableRetryAfter(tt.u); got < tt.want-1 || got > tt.want+1 {
			t.Errorf("UnavailableRetryAfter(%v) = %v, want %v", tt.u, got, tt.want)
		}
	}
}

func FuzzValidRequestID(f *testing.F) {
	for _, id := range []string{
		"a", "req-1_2.3", strings.Repeat("x", 128), "", strings.Repeat("x", 129),
		"a b", "a\r\nSet-Cookie: x", "a\x00", "é", "a/b", "a:b", "[", "`", "{", "@",
	} {
		f.Add(id)
	}
	valid := regexp.MustCompile(`\A[A-Za-z0-9._-]{1,128}\z`)
	f.Fuzz(func(t *testing.T, id string) {
		if got, want := ValidRequestID(id), valid.MatchString(id); got != want {
			t.Fatalf("ValidRequestID(%q) = %v, want %v", id, got, want)
		}
	})
}

// A request id may not be, or have in it, the key that it is sent with; short keys are in many ids, and
// names of tenants may be meant to.
func TestTellsKey(t *testing.T) {
	for _, c := range []struct {
		id, key string
		want    bool
	}{
		{"sk_live_1", "sk_live_1", true},
		{"of-sk_live_12345678.2", "sk_live_12345678", true},
		{"tenant-7-000123", "tenant-7", false},
		{"k", "k", true},
		{"a-task", "k", false},
		{"req-1", "sk_live_1", false},
		{"req-1", "", false},
	} {
		if got := TellsKey(c.id, c.key); got != c.want {
			t.Errorf("%q of %q: %v", c.id, c.key, got)
		}
	}
}
