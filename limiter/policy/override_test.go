package policy

import (
	"strings"
	"testing"
	"time"
)

// A key's own limits take the place of its tier's, each for itself, and nothing else does.
func TestOverrides(t *testing.T) {
	p := mustParse(t, `
tiers:
  free: {windows: [{limit: 10, per: 1m}], concurrent: 2, max_body: 1MiB, shadow: true}
  pro: {windows: [{limit: 60, per: 1m}], concurrent: 10}
default_tier: free
keys:
  - {sha256: `+HashKey("windows")+`, tier: pro, windows: [{limit: 90, per: 1h}]}
  - {sha256: `+HashKey("runs")+`, concurrent: 20}
  - {sha256: `+HashKey("none")+`, tier: pro}
`)
	for _, c := range []struct {
		key, name   string
		limit, runs uint32
		shadow      bool
	}{
		{"windows", "pro", 90, 10, false},
		{"runs", "free", 10, 20, true},
		{"none", "pro", 60, 10, false},
	} {
		r, err := p.Resolve(c.key, "")
		if err != nil {
			t.Fatal(err)
		}
		tier := r.Tier
		if tier.Name() != c.name || tier.Limit() != c.limit || tier.Concurrent() != c.runs || tier.Shadow() != c.shadow {
			t.Errorf("%s: %s, %d, %d, %v", c.key, tier.Name(), tier.Limit(), tier.Concurrent(), tier.Shadow())
		}
		if found, ok := p.ByRef(tier.Ref()); !ok || found != tier {
			t.Errorf("%s: its Ref %q finds %v", c.key, tier.Ref(), found)
		}
		if strings.Contains(tier.Ref(), HashKey(c.key)[:8]) {
			t.Errorf("%s: its Ref %q has its hash", c.key, tier.Ref())
		}
		if _, err := p.Resolve("x", tier.Ref()); (err == nil) != (c.key == "none") {
			t.Errorf("%s: a call may name %q: %v", c.key, tier.Ref(), err)
		}
	}
	if p.Overrides() != 2 || p.Longest() != time.Hour || p.LargestLimit() != 90 {
		t.Errorf("%d overrides, longest %v, largest %d", p.Overrides(), p.Longest(), p.LargestLimit())
	}
	if pro, _ := p.Tier("pro"); pro != nil {
		if found, ok := p.ByRef("pro~of-another-policy"); !ok || found != pro {
			t.Errorf("a variant that is not here: %v, want its tier", found)
		}
	}
	if found, ok := p.ByRef("gone~x"); ok {
		t.Errorf("a variant of no tier: %v", found)
	}
}

func TestOverrideProblems(t *testing.T) {
	const file = "tiers: {free: {windows: [{limit: 1}]}}\nkeys:\n- {sha256: %, @}\n"
	for wrong, want := range map[string]string{
		"windows: []":           "line 3: keys[0].windows: must have 1 to 4 windows, has 0",
		"windows: [{per: 1s}]":  "line 3: keys[0].windows[0].limit: is required",
		"windows: [{limit: 0}]": "line 3: keys[0].windows[0].limit: must be from 1 to 1000000000, is 0",
		"concurrent: -1":        "line 3: keys[0].concurrent: must be from 0 to 100000, is -1",
		"shadow: true":          "line 3: keys[0]: unknown field; the fields here are sha256, tier, status, windows, concurrent",
	} {
		_, err := Parse([]byte(strings.NewReplacer("%", HashKey("k"), "@", wrong).Replace(file)))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", wrong, err, want)
		}
	}
	_, err := Parse([]byte("tiers: {free: {windows: [{limit: 1}], shadow: 1}}\n"))
	if want := "line 1: tiers.free.shadow: must be true or false, is a number"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
