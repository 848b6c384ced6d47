package contract

import (
	"strings"
	"unicode/utf8"
)

// maxAPIKey is the length of the longest API key, in bytes.
const maxAPIKey = 256

// ValidAPIKey reports whether key can be one: 1 to 256 bytes of valid UTF-8. U+FFFD is in none, as
// it stands where bytes were that could not be read.
func ValidAPIKey(key string) bool {
	return key != "" && len(key) <= maxAPIKey && utf8.ValidString(key) && !strings.ContainsRune(key, utf8.RuneError)
}

// APIKey returns the API key that a request shows with its headers Authorization, in which it
// follows "Bearer ", or X-Api-Key, which counts if the other has none. It is "" if there is none that
// is valid; then the answer is InvalidAPIKey.
func APIKey(authorization, apiKey string) string {
	if shown := bearer(authorization); shown != "" {
		apiKey = shown
	}
	if !ValidAPIKey(apiKey) {
		return ""
	}
	return apiKey
}

// bearer returns what follows the scheme Bearer, "" if there is another or nothing.
func bearer(authorization string) string {
	scheme, rest, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.Trim(rest, " \t")
}
