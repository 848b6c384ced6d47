package policy

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// mustParse returns the policy of a file that has no problems.
func mustParse(t testing.TB, file string) *Policy {
	t.Helper()
	p, err := Parse([]byte(file))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return p
}

func TestDefaultIsTheContract(t *testing.T) {
	p := Default()
	want := []struct {
		name       string
		limit      uint32
		concurrent uint32
		maxBody    int64
	}{
		{"free", 10, 2, 10 << 20},
		{"pro", 60, 10, 50 << 20},
		{"enterprise", 600, 50, 200 << 20},
	}
	if len(p.Tiers()) != len(want) {
		t.Fatalf("%d tiers, want %d", len(p.Tiers()), len(want))
	}
	for i, w := range want {
		tier := p.Tiers()[i]
		if tier.Name() != w.name || tier.Concurrent() != w.concurrent || tier.MaxBody() != w.maxBody {
			t.Errorf("tier %d is %s, %d runs, %d bytes; want %+v", i, tier.Name(), tier.Concurrent(), tier.MaxBody(), w)
		}
		if windows := tier.Windows(); !slices.Equal(windows, []limiter.Window{{Limit: w.limit, Per: time.Minute}}) {
			t.Errorf("tier %s has windows %v", w.name, windows)
		}
		if byName, ok := p.Tier(w.name); !ok || byName != tier {
			t.Errorf("Tier(%q) = %v, %v", w.name, byName, ok)
		}
	}
	if p.Longest() != time.Minute || p.LargestLimit() != 600 {
		t.Errorf("the longest window is %v, the largest limit %d", p.Longest(), p.LargestLimit())
	}
	if p.DefaultTier() != p.Tiers()[0] || p.Keys() != 0 || p.RequireKnownKeys() {
		t.Errorf("default tier %v, %d keys, require known %v", p.DefaultTier(), p.Keys(), p.RequireKnownKeys())
	}
}

func TestTiersCannotBeChanged(t *testing.T) {
	p := Default()
	p.Tiers()[0] = nil
	if p.Tiers()[0] == nil {
		t.Error("changing the result of Tiers changed the policy")
	}
}

// Directories for the precedence of tiers: each with and without a default tier,
// and with and without require_known_keys.
func directory(head string) string {
	return `
tiers:
  free: {windows: [{limit: 1}]}
  pro: {windows: [{limit: 2}]}
  gold: {windows: [{limit: 3}]}
keys:
  - {sha256: ` + HashKey("k-gold") + `, tier: gold}
  - {sha256: ` + HashKey("k-suspended") + `, tier: gold, status: suspended}
  - {sha256: ` + HashKey("k-revoked") + `, tier: free, status: revoked}
` + head
}

func TestResolvePrecedence(t *testing.T) {
	policies := map[string]*Policy{
		"plain":         mustParse(t, directory("")),
		"default":       mustParse(t, directory("default_tier: free")),
		"known":         mustParse(t, directory("require_known_keys: true")),
		"default+known": mustParse(t, directory("default_tier: free\nrequire_known_keys: true")),
		"no directory":  Default(),
		"locked":        mustParse(t, "tiers: {free: {windows: [{limit: 1}]}}\nrequire_known_keys: true"),
	}
	for _, c := range []struct {
		policy, key, tier string
		want              string // tier, status, whether known; or the error
		err               error
	}{
		{"plain", "k-gold", "", "gold active known", nil},
		{"plain", "k-gold", "pro", "gold active known", nil},
		{"plain", "k-gold", "nope", "", ErrUnknownTier},
		{"plain", "k-suspended", "pro", "gold suspended known", nil},
		{"plain", "k-revoked", "", "free revoked known", nil},
		{"plain", "stranger", "pro", "pro active", nil},
		{"plain", "stranger", "", "", ErrNoTier},
		{"plain", "stranger", "nope", "", ErrUnknownTier},
		{"plain", "stranger", "PRO", "", ErrUnknownTier},
		{"default", "k-gold", "", "gold active known", nil},
		{"default", "stranger", "", "free active", nil},
		{"default", "stranger", "pro", "pro active", nil},
		{"known", "k-gold", "pro", "gold active known", nil},
		{"known", "stranger", "pro", "- unknown", nil},
		{"known", "stranger", "", "- unknown", nil}, // not ErrNoTier: the key is what is wrong
		{"known", "stranger", "nope", "", ErrUnknownTier},
		{"default+known", "stranger", "", "- unknown", nil},
		{"default+known", "k-suspended", "", "gold suspended known", nil},
		{"no directory", "stranger", "", "free active", nil},
		{"no directory", "stranger", "enterprise", "enterprise active", nil},
		{"no directory", "stranger", "nope", "", ErrUnknownTier},
		{"locked", "stranger", "free", "- unknown", nil},
	} {
		r, err := policies[c.policy].Resolve(c.key, c.tier)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: Resolve(%s, %q) error %v, want %v", c.policy, c.key, c.tier, err, c.err)
			continue
		}
		got := ""
		if err == nil {
			got = describe(r)
		} else if r != (Resolution{}) || r.Status != Unknown {
			t.Errorf("%s: Resolve(%s, %q) = %v beside an error", c.policy, c.key, c.tier, r)
		}
		if got != c.want {
			t.Errorf("%s: Resolve(%s, %q) = %s, want %s", c.policy, c.key, c.tier, got, c.want)
		}
	}
}

func describe(r Resolution) string {
	s := "-"
	if r.Tier != nil {
		s = r.Tier.Name()
	}
	s += " " + r.Status.String()
	if r.Known {
		s += " known"
	}
	return s
}

func TestResolveDoesNotAllocate(t *testing.T) {
	with, without := mustParse(t, directory("default_tier: free")), Default()
	long := string(make([]byte, 256))
	for _, c := range []struct {
		name string
		call func()
	}{
		{"known", func() { _, _ = with.Resolve("k-gold", "pro") }},
		{"unknown", func() { _, _ = with.Resolve("stranger", "pro") }},
		{"long", func() { _, _ = with.Resolve(long, "") }},
		{"error", func() { _, _ = with.Resolve("stranger", "nope") }},
		{"no directory", func() { _, _ = without.Resolve("stranger", "pro") }},
	} {
		if n := testing.AllocsPerRun(1000, c.call); n != 0 {
			t.Errorf("%s: %v allocations, want 0", c.name, n)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	for name, p := range map[string]*Policy{
		"directory":    mustParse(b, directory("default_tier: free")),
		"no directory": Default(),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Resolve("a key that has about forty characters..", "pro")
			}
		})
	}
}
