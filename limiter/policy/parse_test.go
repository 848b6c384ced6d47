package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

func TestSampleIsTheDefault(t *testing.T) {
	p, err := Load("../../docs/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.Fingerprint() != Default().Fingerprint() {
		t.Errorf("docs/policy.yaml differs from Default: fingerprints %s, %s", p.Fingerprint(), Default().Fingerprint())
	}
}

func TestParse(t *testing.T) {
	p := mustParse(t, `
--- # the policy
tiers:
  basic:
    windows:
      - limit: 5
      - {limit: 100, per: 1h}
      - {limit: 1000000000, per: 1d}
  "pro-2": {windows: [{limit: 7, per: 500ms}], concurrent: 3, max_body: 10MB}
default_tier: pro-2
keys:
  - sha256: `+HashKey("a")+`
  - {sha256: "`+strings.ToUpper(HashKey("b"))+`", tier: basic, status: active}
  - {sha256: `+strings.Repeat("0", 64)+`, tier: basic, status: revoked}
require_known_keys: True
`)
	names := []string{}
	for _, tier := range p.Tiers() {
		names = append(names, tier.Name())
	}
	if want := []string{"basic", "pro-2"}; !slices.Equal(names, want) {
		t.Errorf("tiers %q, want %q", names, want)
	}
	basic, _ := p.Tier("basic")
	want := []limiter.Window{{Limit: 5, Per: time.Minute}, {Limit: 100, Per: time.Hour}, {Limit: 1e9, Per: 24 * time.Hour}}
	if !slices.Equal(basic.Windows(), want) || basic.Concurrent() != 0 || basic.MaxBody() != 0 {
		t.Errorf("basic: windows %v, %d runs, %d bytes", basic.Windows(), basic.Concurrent(), basic.MaxBody())
	}
	pro, _ := p.Tier("pro-2")
	want = []limiter.Window{{Limit: 7, Per: 500 * time.Millisecond}}
	if !slices.Equal(pro.Windows(), want) || pro.Concurrent() != 3 || pro.MaxBody() != 10_000_000 {
		t.Errorf("pro-2: windows %v, %d runs, %d bytes", pro.Windows(), pro.Concurrent(), pro.MaxBody())
	}
	if p.DefaultTier() != pro || p.Keys() != 3 || !p.RequireKnownKeys() {
		t.Errorf("default %v, %d keys, require known %v", p.DefaultTier().Name(), p.Keys(), p.RequireKnownKeys())
	}
	for key, want := range map[string]string{
		"a": "pro-2 active known", // the default tier
		"b": "basic active known",
		"c": "- unknown",
	} {
		if r, err := p.Resolve(key, ""); err != nil || describe(r) != want {
			t.Errorf("Resolve(%s) = %s, %v; want %s", key, describe(r), err, want)
		}
	}
	if e := p.keys[keyHash{}]; e.status != Revoked {
		t.Errorf("a hash that YAML takes for a number has status %v, want revoked", e.status)
	}
}

func TestSingleTierIsTheDefault(t *testing.T) {
	p := mustParse(t, "tiers: {only: {windows: [{limit: 1}]}}\nkeys: [{sha256: "+HashKey("a")+"}]")
	if p.DefaultTier() == nil || p.DefaultTier().Name() != "only" {
		t.Errorf("default tier %v, want only", p.DefaultTier())
	}
	if r, err := p.Resolve("a", ""); err != nil || describe(r) != "only active known" {
		t.Errorf("Resolve = %s, %v", describe(r), err)
	}
}

func TestLoadErrorsBeginWithThePath(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	_, err := Load(missing)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != missing+": no such file or directory" {
		t.Errorf("a missing file: %v", err)
	}
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || err.Error() != dir+": is a directory" {
		t.Errorf("a directory: %v", err)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("tiers: {}\nmore: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(bad)
	want := bad + ": line 1: tiers: must have 1 to 1000 tiers, has 0\n" +
		bad + ": line 2: more: unknown field; the fields here are tiers, default_tier, keys, require_known_keys"
	if err == nil || err.Error() != want {
		t.Errorf("a bad file: %v\nwant %s", err, want)
	}
	var problems *Error
	if !errors.As(err, &problems) || problems.Path != bad || len(problems.Problems) != 2 || problems.Problems[1].Line != 2 {
		t.Errorf("a bad file: %#v", problems)
	}
}

func TestManyProblems(t *testing.T) {
	var file strings.Builder
	file.WriteString("tiers: {free: {windows: [{limit: 1}]}}\nkeys:\n")
	for range 100 {
		file.WriteString("  - {sha256: short}\n")
	}
	_, err := Parse([]byte(file.String()))
	var problems *Error
	if !errors.As(err, &problems) || len(problems.Problems) != maxProblems || problems.Omitted != 80 {
		t.Fatalf("Parse: %v", err)
	}
	if !strings.HasSuffix(err.Error(), "\nand 80 more") {
		t.Errorf("the error does not say how many more there are: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	for name, file := range map[string][]byte{
		"the file is too large":       make([]byte, MaxFileSize+1),
		"the file has too many value": []byte("[" + strings.Repeat("a,", maxSeparators) + "a]"),
		"exceeded max depth":          []byte(strings.Repeat("[", 1_000_000)),
	} {
		if _, err := Parse(file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nine levels of ten aliases each would be a thousand million values.
func TestAliasesAreNotFollowed(t *testing.T) {
	var file strings.Builder
	file.WriteString("a0: &a0 {windows: [{limit: 1}]}\n")
	for i := range 9 {
		fmt.Fprintf(&file, "a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 10))
	}
	file.WriteString("tiers: {free: *a9}\n")
	_, err := Parse([]byte(file.String()))
	const want = "line 11: tiers.free: must be a mapping, is an alias, which a policy file cannot have"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Parse: %v\nwant at the end %s", err, want)
	}
}

func TestLargeDirectory(t *testing.T) {
	const n = 100_000
	var file strings.Builder
	file.WriteString("tiers: {free: {windows: [{limit: 1}]}, pro: {windows: [{limit: 2}]}}\nkeys:\n")
	for i := range n {
		fmt.Fprintf(&file, "  - {sha256: \"%s\", tier: pro, status: suspended}\n", HashKey(fmt.Sprint("key", i)))
	}
	p := mustParse(t, file.String())
	if p.Keys() != n {
		t.Fatalf("%d keys, want %d", p.Keys(), n)
	}
	for _, i := range []int{0, n / 2, n - 1} {
		r, err := p.Resolve(fmt.Sprint("key", i), "free")
		if err != nil || describe(r) != "pro suspended known" {
			t.Errorf("key %d: %s, %v", i, describe(r), err)
		}
	}
}
