package policy

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/overten/sluice/limiter"
)

func replaceOnce(t *testing.T, s, from, to string) string {
	t.Helper()
	if strings.Count(s, from) != 1 {
		t.Fatalf("%q is there %d times, want once", from, strings.Count(s, from))
	}
	return strings.Replace(s, from, to, 1)
}

// FuzzParse holds that no file makes Parse panic, that what it refuses has
// problems with lines inside the file, and that what it takes is a policy whose
// every tier the engine would take again.
func FuzzParse(f *testing.F) {
	sample, err := os.ReadFile("../../docs/policy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(fingerprinted))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		checkPolicy(t, p)
		again, err := Parse(data)
		if err != nil || again.Fingerprint() != p.Fingerprint() {
			t.Errorf("parsed again: %v, fingerprints %s and %s", err, again.Fingerprint(), p.Fingerprint())
		}
	})
}

func checkProblems(t *testing.T, data []byte, err error) {
	var problems *Error
	if !errors.As(err, &problems) || len(problems.Problems) < 1 || len(problems.Problems) > maxProblems {
		t.Fatalf("error %T with no or too many problems: %v", err, err)
	}
	// YAML counts more characters as line ends than \n.
	lines := 2
	for _, r := range string(data) {
		if r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029' {
			lines++
		}
	}
	last := 0
	for _, p := range problems.Problems {
		if p.Line < last || p.Line > lines || p.Text == "" {
			t.Errorf("problem %+v after line %d of %d", p, last, lines)
		}
		last = p.Line
	}
}

func checkPolicy(t *testing.T, p *Policy) {
	if len(p.Tiers()) == 0 {
		t.Fatal("a policy without tiers")
	}
	for _, tier := range p.Tiers() {
		_, err := limiter.NewTier(limiter.TierSpec{
			Name: tier.Name(), Windows: tier.Windows(), Concurrent: tier.Concurrent(), MaxBody: tier.MaxBody(),
		})
		if err != nil {
			t.Errorf("tier %q: %v", tier.Name(), err)
		}
		if r, err := p.Resolve("a key that is in no file", tier.Name()); err != nil || p.RequireKnownKeys() != (r.Status == Unknown) {
			t.Errorf("Resolve with tier %q: %v, %v", tier.Name(), r, err)
		}
	}
	for h, e := range p.keys {
		if int(e.tier) >= len(p.tiers) || e.status < Active || e.status > Revoked {
			t.Errorf("key %x has entry %+v", h, e)
		}
	}
	if got := p.computeFingerprint(); got != p.Fingerprint() {
		t.Errorf("fingerprint %s, computed again %s", p.Fingerprint(), got)
	}
}
