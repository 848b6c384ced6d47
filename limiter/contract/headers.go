package contract

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of the contract, as its page spells them. Names of headers have no
// case; net/http writes X-Ratelimit-Limit over HTTP/1 unless [Spell] is used.
const (
	HeaderLimit      = "X-RateLimit-Limit"
	HeaderRemaining  = "X-RateLimit-Remaining"
	HeaderReset      = "X-RateLimit-Reset"
	HeaderRetryAfter = "Retry-After"
	HeaderRequestID  = "X-Request-Id"
)

// A RateLimit is what a decision tells the client.
type RateLimit struct {
	Limit     uint32 // units in the binding window
	Remaining uint32 // units that would pass now
	// Reset is how long until Remaining next grows; on a denial, RetryAfter.
	Reset time.Duration
	// RetryAfter is how long until the denied request would pass. 0: it was
	// allowed, or no wait helps.
	RetryAfter time.Duration
}

// Set writes the headers that every response carries, and Retry-After if there
// is a wait. now is the wall clock of whoever answers.
//
// X-RateLimit-Reset is now plus Reset, in Unix seconds. Both it and Retry-After
// are rounded up: after a denial, sleeping until the one or for the other is
// never too short, and too long by less than a second.
//
// What h has for these names is replaced; without a wait Retry-After is left as
// it is, since a response that was let through may have its own.
func (r RateLimit) Set(h http.Header, now time.Time) {
	h.Set(HeaderLimit, strconv.FormatUint(uint64(r.Limit), 10))
	h.Set(HeaderRemaining, strconv.FormatUint(uint64(r.Remaining), 10))
	h.Set(HeaderReset, strconv.FormatInt(ceilUnix(now.Add(max(r.Reset, 0))), 10))
	if r.RetryAfter > 0 {
		SetRetryAfter(h, r.RetryAfter)
	}
}

// Spell makes HTTP/1 show the X-RateLimit headers of h as the contract spells them, for
// people and scripts that compare them by the letter. It is for just before the response
// is written: afterwards h.Get does not find them.
func Spell(h http.Header) {
	for _, name := range [...]string{HeaderLimit, HeaderRemaining, HeaderReset} {
		canonical := http.CanonicalHeaderKey(name)
		if v, ok := h[canonical]; ok {
			delete(h, canonical)
			h[name] = v
		}
	}
}

// SetRetryAfter sets Retry-After to d in whole seconds, rounded up, at least 1.
func SetRetryAfter(h http.Header, d time.Duration) {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	h.Set(HeaderRetryAfter, strconv.FormatInt(max(seconds, 1), 10))
}

// ceilUnix returns the first whole Unix second that is not before t.
func ceilUnix(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// UnavailableRetryAfter returns the Retry-After of a 503: from 30 to 60 seconds,
// in proportion to u, a uniform random number in [0, 1). It is spread so that
// the clients of an outage do not all come back at once.
func UnavailableRetryAfter(u float64) time.Duration {
	const least, spread = 30 * time.Second, 30 * time.Second
	if !(u > 0) { // also NaN
		return least
	}
	return least + time.Duration(min(u, 1)*float64(spread))
}

// maxRequestID is the length of the longest request id, in bytes.
const maxRequestID = 128

// ValidRequestID reports whether id may be used as a request id: 1 to 128
// characters of A-Z, a-z, 0-9, dot, underscore and hyphen. Any other is replaced
// before it reaches a log or a header.
func ValidRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// TellsKey reports whether a request id holds an API key, which may reach no log: be it all that it
// is, or, of a key that has sixteen bytes at least, as secrets have, among other things.
func TellsKey(id, key string) bool {
	return key != "" && (id == key || len(key) >= 16 && strings.Contains(id, key))
}
