package contract

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxAPIKey is the length of the longest API key, in bytes.
const maxAPIKey = 256

// ValidAPIKey reports whether key can be one: 1 to 256 bytes of valid UTF-8 without blanks, commas and
// control characters. A comma is what joins headers of one name, by which a client could make as many
// keys of one as it likes.
func ValidAPIKey(key string) bool {
	return key != "" && len(key) <= maxAPIKey && utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return r == ',' || unicode.IsSpace(r) || unicode.IsControl(r) })
}

// APIKey returns the API key that a request shows in its headers Authorization, in which it follows
// "Bearer ", or X-Api-Key. It is "" if there is none, or one that is not valid, or two that differ:
// who is asked next might take the other. Then the answer is InvalidAPIKey.
func APIKey(authorization, apiKey string) string {
	shown := bearer(authorization)
	switch {
	case shown == "":
		shown = apiKey
	case apiKey != "" && apiKey != shown:
		return ""
	}
	if !ValidAPIKey(shown) {
		return ""
	}
	return shown
}

// bearer returns what follows the scheme Bearer, "" if there is another or nothing.
func bearer(authorization string) string {
	authorization = strings.TrimSpace(authorization)
	end := strings.IndexFunc(authorization, unicode.IsSpace)
	if end < 0 || !strings.EqualFold(authorization[:end], "Bearer") {
		return ""
	}
	return strings.TrimSpace(authorization[end:])
}
