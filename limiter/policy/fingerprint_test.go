package policy

import (
	"regexp"
	"testing"
)

const fingerprinted = `
tiers:
  free: {windows: [{limit: 10, per: 1m}], concurrent: 2, max_body: 1MiB}
  pro: {windows: [{limit: 60, per: 1m}, {limit: 1000, per: 1d}]}
default_tier: free
keys:
  - {sha256: 1111111111111111111111111111111111111111111111111111111111111111, tier: free, status: active}
  - {sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, tier: pro, status: revoked}
`

func TestFingerprintIgnoresForm(t *testing.T) {
	want := mustParse(t, fingerprinted).Fingerprint()
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(want) {
		t.Errorf("fingerprint %q is not 16 hex digits", want)
	}
	same := mustParse(t, `# The same, in other words.
require_known_keys: false
keys:
- sha256: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
  status: revoked
  tier: pro
- sha256: '1111111111111111111111111111111111111111111111111111111111111111'
default_tier: "free"
tiers:
  pro:
    windows:
      - limit: 60
      - {limit: 1000, per: 24h}
    concurrent: 0
  free:
    max_body: 1048576
    windows: [{limit: 10, per: 60s}]
    concurrent: 2
`)
	if got := same.Fingerprint(); got != want {
		t.Errorf("the same policy written otherwise: fingerprint %s, want %s", got, want)
	}
}

func TestFingerprintSeesMeaning(t *testing.T) {
	seen := map[string]string{mustParse(t, fingerprinted).Fingerprint(): "unchanged"}
	for _, c := range []struct{ from, to string }{
		{"limit: 10,", "limit: 11,"},
		{"per: 1d", "per: 2d"},
		{"{limit: 60, per: 1m}, {limit: 1000, per: 1d}", "{limit: 60, per: 1m}"},
		{"concurrent: 2", "concurrent: 3"},
		{"max_body: 1MiB", "max_body: 1MB"},
		{"default_tier: free", "default_tier: pro"},
		{"default_tier: free", ""},
		{"tier: free, status: active", "tier: pro, status: active"},
		{"status: active", "status: suspended"},
		{"status: active", "status: active, concurrent: 2"},
		{"status: active", "status: active, concurrent: 3"},
		{"status: active", "status: active, windows: [{limit: 9}]"},
		{"concurrent: 2", "concurrent: 2, shadow: true"},
		{"1111, tier", "1112, tier"},
		{"default_tier: free", "default_tier: free\nrequire_known_keys: true"},
		{"default_tier: free", "default_tier: free # \n"},
	} {
		got := mustParse(t, replaceOnce(t, fingerprinted, c.from, c.to)).Fingerprint()
		name := c.from + " -> " + c.to
		if other, ok := seen[got]; ok != (c.to == "default_tier: free # \n") {
			t.Errorf("%s: fingerprint %s, like %q: %v", name, got, other, ok)
		}
		seen[got] = name
	}
}
