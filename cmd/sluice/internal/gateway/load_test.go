package gateway_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/policy"
)

// The sample says what a gateway does without a file, but for its routes.
func TestSampleIsTheDefault(t *testing.T) {
	got, err := gateway.LoadConfig("../../../../docs/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Routes) != 2 || !got.Routes[0].Run || !got.Routes[1].Public {
		t.Errorf("routes are %+v", got.Routes)
	}
	want := gateway.DefaultConfig()
	if got.Policy.Fingerprint() != want.Policy.Fingerprint() {
		t.Error("the sample's policy is not the built-in one")
	}
	got.Routes, got.Policy, want.Policy = nil, nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the sample is %+v, the default %+v", got, want)
	}
}

// write writes a configuration beside a policy with a directory.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	const tiers = "tiers: {low: {windows: [{limit: 1}]}, high: {windows: [{limit: 9}]}}\n"
	for name, content := range map[string]string{
		"policy.yaml":   tiers + "default_tier: low\nkeys: [{sha256: " + policy.HashKey("k") + ", tier: high}]\n",
		"nodefault":     tiers,
		"listed":        tiers + "require_known_keys: true\n",
		"broken":        "tiers: 1\n",
		"gateway.yaml":  text,
		"unrelated.txt": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gateway.yaml")
}

func TestLoadConfig(t *testing.T) {
	got, err := gateway.LoadConfig(write(t, `
limiter: dns:///sluice:7070
fail: open
timeout: 20ms
policy: policy.yaml
anonymous: {tier: low}
trusted_proxies: [10.0.0.0/8, "::1", 192.0.2.1]
sync_ceiling: 2m
routes:
  - {pattern: POST /runs, run: true, tiers: [high]}
  - pattern: "/files/{id}"
  - {pattern: "GET /{$}", public: true, run: false}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Policy.Keys() != 1 {
		t.Errorf("the policy has %d keys", got.Policy.Keys())
	}
	want := gateway.Config{
		Limiter: "dns:///sluice:7070", Fail: client.FailOpen, Timeout: 20 * time.Millisecond, Policy: got.Policy,
		Anonymous: gateway.Anonymous{Tier: "low"},
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.1/32"),
		},
		SyncCeiling: 2 * time.Minute,
		Routes: []gateway.Route{
			{Pattern: "POST /runs", Run: true, Tiers: []string{"high"}}, {Pattern: "/files/{id}"}, {Pattern: "GET /{$}", Public: true},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n"} {
		got, err := gateway.LoadConfig(write(t, text))
		if err != nil || got.Limiter != "127.0.0.1:7070" || got.SyncCeiling != 300*time.Second {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// Each problem is reported with its line and field.
func TestLoadConfigRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown field", "fail: open\nlimitr: x", "line 2: limitr: unknown field"},
		{"unknown field of a route", "routes:\n- pattern: /\n  runs: true", "line 3: routes[0].runs: unknown field"},
		{"unknown field of anonymous", "anonymous:\n  limit: 5", "line 2: anonymous.limit: unknown field"},
		{"given twice", "fail: open\ntimeout: 1s\nfail: closed", "line 3: fail: is given twice, first on line 1"},
		{"merge key", "routes:\n- <<: {run: true}\n  pattern: /", "line 2: routes[0].<<: unknown field"},
		{"alias", "limiter: &a h:1\nfail: *a", "line 2: fail: must be text, is an alias"},
		{"list at the top", "- fail", "line 1: must be a mapping, is a list"},
		{"text at the top", "fail", "line 1: must be a mapping, is text"},
		{"two documents", "fail: open\n---\nfail: open", "line 2: a second YAML document"},
		{"no YAML", "fail: [", "not YAML"},
		{"no text", "fail: \xff", "not UTF-8"},
		{"limiter", "\nlimiter: sluice", "line 2: limiter: must be an address"},
		{"limiter empty", "limiter:", "line 1: limiter: must be text, is empty"},
		{"fail", "fail: shut", `line 1: fail: must be open or closed, is "shut"`},
		{"fail as YAML's no", "fail: false", "line 1: fail: must be text, is true or false"},
		{"timeout without a unit", "timeout: 50", "line 1: timeout: must be a duration with its unit"},
		{"timeout a list", "timeout: [50ms]", "line 1: timeout: must be a duration"},
		{"timeout too long", "timeout: 1m", "line 1: timeout: must be from 1ms to 10s, is 1m0s"},
		{"timeout negative", "timeout: -1s", "line 1: timeout: must be from"},
		{"ceiling", "fail: open\nsync_ceiling: 0s", "line 2: sync_ceiling: must be from 10ms to 24h0m0s, is 0s"},
		{"policy missing", "policy: missing", "line 1: policy: "},
		{"policy broken", "policy: broken", "line 1: tiers: must be a mapping"},
		{"policy without a default", "policy: nodefault\nanonymous: {tier: low}", "line 1: policy: a key that the policy does not list would have no tier"},
		{"anonymous absent", "policy: policy.yaml", `anonymous.tier: must be a tier of the policy, which has no tier "pro"`},
		{"anonymous", "anonymous:\n  tier: none", "line 2: anonymous.tier: must be a tier"},
		{"anonymous no mapping", "anonymous: pro", "line 1: anonymous: must be a mapping, is text"},
		{"proxy", "trusted_proxies:\n- 10.0.0.0/8\n- example.com", "line 3: trusted_proxies[1]: must be a network"},
		{"proxy beyond", "trusted_proxies: [10.0.0.0/33]", "line 1: trusted_proxies[0]: must be a network"},
		{"proxy, IPv4 in IPv6", "trusted_proxies: ['::ffff:10.0.0.0/104']", "must be written as an IPv4 network"},
		{"proxies no list", "trusted_proxies: 10.0.0.0/8", "line 1: trusted_proxies: must be a list, is text"},
		{"routes empty", "routes:", "line 1: routes: must be a list, is empty"},
		{"route no mapping", "routes:\n- POST /x", "line 2: routes[0]: must be a mapping, is text"},
		{"no pattern", "routes:\n- run: true", "line 2: routes[0]: pattern is required"},
		{"pattern without slash", "routes:\n- pattern: POST x", "line 2: routes[0].pattern: must be a path"},
		{"pattern with host", "routes:\n- pattern: example.com/x", "must be a path that begins with /"},
		{"pattern broken", "routes:\n- pattern: /{x", "line 2: routes[0].pattern: is no pattern"},
		{"method in small letters", "routes:\n- pattern: post /x", "must have its method in capitals"},
		{"pattern twice", "routes:\n- pattern: /x\n- pattern: /x", `line 3: routes[1].pattern: "/x" and "/x" match`},
		{"patterns overlap", "routes:\n- pattern: /{a}/x\n- pattern: /y\n- pattern: /x/{b}", `line 4: routes[2].pattern: "/x/{b}" and "/{a}/x" match`},
		{"run a text", "routes:\n- {pattern: /, run: 'yes'}", "line 2: routes[0].run: must be true or false"},
		{"public run", "routes:\n- pattern: /\n  run: true\n  public: true", "line 4: routes[0].public: a run needs a key"},
		{"public tiers", "policy: policy.yaml\nanonymous: {tier: low}\nroutes:\n- {pattern: /, tiers: [high], public: true}", "line 4: routes[0].public: a route for certain tiers"},
		{"unknown tier", "routes:\n- pattern: /\n  tiers:\n  - free\n  - gold", `line 5: routes[0].tiers[1]: must be a tier of the policy, which has no tier "gold"`},
		{"no tiers", "routes:\n- {pattern: /, tiers: []}", "line 2: routes[0].tiers: must name at least one tier"},
		{"tiers nobody has", "routes:\n- {pattern: /, tiers: [pro]}", "line 2: routes[0].tiers: no key could use this route"},
		{"too many routes", "routes:\n" + strings.Repeat("- {pattern: /}\n", 1001), "line 1: routes: must be at most 1000, are 1001"},
		{"too long", strings.Repeat("#\n", 1<<19) + "#", "the file is too large"},
		{"too deep", "routes: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "not YAML"},
		{"a key by mistake", "sk_live_secret: 1", "line 1: sk_live_…: unknown field"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			_, err := gateway.LoadConfig(path)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
			if !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "secret") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAllProblemsAreReported(t *testing.T) {
	_, err := gateway.LoadConfig(write(t, "timeout: 1\nroutes:\n- {}\nfail: 1\n"))
	if err == nil {
		t.Fatal("no error")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 3 || !strings.Contains(lines[0], "line 1") || !strings.Contains(lines[2], "line 4") {
		t.Errorf("error is %v", err)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := gateway.LoadConfig("missing.yaml")
	if err == nil || !strings.HasPrefix(err.Error(), "missing.yaml: ") {
		t.Errorf("error is %v", err)
	}
}

func TestPolicyThatListsAllKeysNeedsNoDefaultTier(t *testing.T) {
	if _, err := gateway.LoadConfig(write(t, "policy: listed\nanonymous: {tier: low}\n")); err != nil {
		t.Error(err)
	}
}
