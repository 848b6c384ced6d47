package gateway

import (
	"net/http"
	"regexp"
	"strings"
)

// An API key is keyPrefix and 1 or more characters of A-Z, a-z, 0-9, _ and -.
const (
	keyPrefix = "sk_live_"
	maxKey    = 256 // bytes, as the limiter takes
)

// bearerKey returns the API key of a request; false if it has none, or nothing
// that has the form of one. Of two Authorization headers the upstream might read
// the other, so they count as none.
func bearerKey(h http.Header) (string, bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	key = strings.Trim(key, " ")
	if !strings.EqualFold(scheme, "Bearer") || len(key) > maxKey {
		return "", false
	}
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || rest == "" {
		return "", false
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return "", false
		}
	}
	return key, true
}

var keyLike = regexp.MustCompile(keyPrefix + `[A-Za-z0-9_-]*`)

// redact hides what looks like an API key, in text that is for the log.
func redact(s string) string {
	if !strings.Contains(s, keyPrefix) {
		return s
	}
	return keyLike.ReplaceAllString(s, keyPrefix+"…")
}
