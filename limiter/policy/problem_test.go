package policy

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const oneTier = "tiers: {free: {windows: [{limit: 1}]}}\n"

// tierWith returns a file whose only tier has that body, from line 2 on.
func tierWith(body string) string { return "tiers:\n  free: " + body + "\n" }

// keysWith returns a file with that directory, from line 2 on.
func keysWith(keys string) string { return oneTier + "keys:\n" + keys + "\n" }

func TestProblems(t *testing.T) {
	a, b := HashKey("a"), HashKey("b")
	for _, c := range []struct{ name, file, want string }{
		// The file.
		{"empty", "", "line 1: the file is empty"},
		{"comments only", "# nothing\n\n", "line 1: the file is empty"},
		{"empty document", "---\n", "line 1: the file is empty"},
		{"a list", "- tiers\n", "line 1: must be a mapping, is a list"},
		{"a text", "\n\ntiers\n", "line 3: must be a mapping, is text"},
		{"second document", oneTier + "---\n" + oneTier, "line 2: a second YAML document begins here; a policy file has one"},
		{"second document broken", oneTier + "---\na: [\n", "line 4: not YAML: did not find expected node content"},
		{"list not closed", "tiers: [1,\n2\n", "line 3: not YAML: did not find expected ',' or ']' (while parsing a flow sequence, from line 1)"},
		{"not YAML", "tiers:\n  free: {windows: [}\n", "line 2: not YAML: did not find expected node content"},
		{"tab", "tiers:\n\tfree: 1\n", "line 2: not YAML: found character that cannot start any token"},
		{"not UTF-8", oneTier + "default_tier: \xff\n", "line 2: not UTF-8 text"},
		{"UTF-16", "\xff\xfet\x00", "line 1: not UTF-8 text"},
		{"control character", "#\n#\x00\n", "line 2: the character U+0000 cannot be in a policy file"},
		{"too deep", strings.Repeat("a: [\n", 20), "line 17: not YAML: exceeded max depth of 16"},
		{"alias without anchor", "tiers: *x\n", "line 1: not YAML: an alias without its anchor (and a policy file cannot have aliases)"},

		// Fields.
		{"unknown field", oneTier + "defaulttier: free\n", "line 2: defaulttier: unknown field; the fields here are tiers, default_tier, keys, require_known_keys"},
		{"unknown field of a tier", tierWith("\n    burst: 3\n    windows: [{limit: 1}]"), "line 3: tiers.free.burst: unknown field; the fields here are windows, concurrent, max_body, shadow"},
		{"unknown field of a window", tierWith("{windows: [{limit: 1}, {limit: 2, every: 1m}]}"), "line 2: tiers.free.windows[1].every: unknown field; the fields here are limit, per"},
		{"unknown field of a key", keysWith("- {sha256: " + a + ", plan: pro}"), "line 3: keys[0]: unknown field; the fields here are sha256, tier, status, windows, concurrent"},
		{"field that is a list", oneTier + "? [tiers]\n: 1\n", "line 2: unknown field; the fields here are tiers, default_tier, keys, require_known_keys"},
		{"merge key", "x: &x {limit: 1}\ntiers: {free: {windows: [{<<: *x, limit: 1}]}}\n", "line 1: x: unknown field; the fields here are tiers, default_tier, keys, require_known_keys\n" +
			"line 2: tiers.free.windows[0]: unknown field; the fields here are limit, per"},
		{"field twice", oneTier + "default_tier: free\ndefault_tier: free\n", "line 3: default_tier: is given twice, first on line 2"},
		{"tier twice", tierWith("{windows: [{limit: 1}]}\n  pro: {windows: [{limit: 1}]}\n  'free': {windows: [{limit: 2}]}"), "line 4: tiers.free: is given twice, first on line 2"},
		{"key twice", keysWith("- {sha256: " + a + "}\n- {sha256: " + b + "}\n- sha256: " + strings.ToUpper(a)), "line 5: keys[2].sha256: is given twice, first on line 3"},

		// Tiers.
		{"no tiers", "default_tier: free\n", "line 1: tiers: is required"},
		{"no tiers is one problem", "keys: [{sha256: " + a + "}, {sha256: " + b + ", tier: pro}]\n", "line 1: tiers: is required"},
		{"tiers empty", "tiers:\n", "line 1: tiers: must be a mapping, is empty"},
		{"tiers a list", "tiers: [free]\n", "line 1: tiers: must be a mapping, is a list"},
		{"zero tiers", "tiers: {}\n", "line 1: tiers: must have 1 to 1000 tiers, has 0"},
		{"tier empty", tierWith(""), "line 2: tiers.free: must be a mapping, is empty"},
		{"tier a number", tierWith("10"), "line 2: tiers.free: must be a mapping, is a number"},
		{"tier an alias", "tiers: {free: &f {windows: [{limit: 1}]}, pro: *f}\n", "line 1: tiers.pro: must be a mapping, is an alias, which a policy file cannot have"},
		{"tier named by a number", "tiers: {1: {windows: [{limit: 1}]}}\n", "line 1: tiers[0]: a tier's name must be text of 1 to 64 letters, digits, _ and -"},
		{"tier with a blank name", "tiers: {a b: {windows: [{limit: 1}]}}\n", "line 1: tiers[0]: a tier's name must be text of 1 to 64 letters, digits, _ and -"},
		{"tier with a long name", "tiers: {" + strings.Repeat("a", 65) + ": {windows: [{limit: 1}]}}\n", "line 1: tiers[0]: a tier's name must be text of 1 to 64 letters, digits, _ and -"},
		{"default tier unknown", oneTier + "default_tier: pro\n", "line 2: default_tier: must be the name of a tier, and tiers has none of this name"},
		{"default tier empty", oneTier + "default_tier:\n", "line 2: default_tier: must be text, is empty"},
		{"a default tier with a problem is one problem", tierWith("{windows: []}") + "default_tier: free\nkeys: [{sha256: " + a + ", tier: free}]\n", "line 2: tiers.free.windows: must have 1 to 4 windows, has 0"},

		// Windows.
		{"no windows", tierWith("{concurrent: 1}"), "line 2: tiers.free.windows: is required"},
		{"zero windows", tierWith("{windows: []}"), "line 2: tiers.free.windows: must have 1 to 4 windows, has 0"},
		{"five windows", tierWith("{windows: [{limit: 1}, {limit: 1}, {limit: 1}, {limit: 1}, {limit: 1}]}"), "line 2: tiers.free.windows: must have 1 to 4 windows, has 5"},
		{"windows a mapping", tierWith("{windows: {limit: 1}}"), "line 2: tiers.free.windows: must be a list, is a mapping"},
		{"window a number", tierWith("{windows: [10]}"), "line 2: tiers.free.windows[0]: must be a mapping, is a number"},
		{"no limit", tierWith("\n    windows:\n      - per: 1m"), "line 4: tiers.free.windows[0].limit: is required"},
		{"limit negative", tierWith("\n    windows:\n      - limit: -3"), "line 4: tiers.free.windows[0].limit: must be from 1 to 1000000000, is -3"},
		{"limit zero", tierWith("{windows: [{limit: 0}]}"), "line 2: tiers.free.windows[0].limit: must be from 1 to 1000000000, is 0"},
		{"limit too large", tierWith("{windows: [{limit: 1000000001}]}"), "line 2: tiers.free.windows[0].limit: must be from 1 to 1000000000, is 1000000001"},
		{"limit of 32 bits and more", tierWith("{windows: [{limit: 4294967297}]}"), "line 2: tiers.free.windows[0].limit: must be from 1 to 1000000000, is 4294967297"},
		{"limit of 64 bits and more", tierWith("{windows: [{limit: 99999999999999999999}]}"), "line 2: tiers.free.windows[0].limit: must be from 1 to 1000000000, is far beyond"},
		{"limit in quotes", tierWith("{windows: [{limit: '5'}]}"), "line 2: tiers.free.windows[0].limit: must be a whole number, is text"},
		{"limit a fraction", tierWith("{windows: [{limit: 1.5}]}"), "line 2: tiers.free.windows[0].limit: must be a whole number in decimal digits"},
		{"limit octal", tierWith("{windows: [{limit: 010}]}"), "line 2: tiers.free.windows[0].limit: must be a whole number in decimal digits"},
		{"limit hexadecimal", tierWith("{windows: [{limit: 0x10}]}"), "line 2: tiers.free.windows[0].limit: must be a whole number in decimal digits"},
		{"limit tagged", tierWith("{windows: [{limit: !!int many}]}"), "line 2: tiers.free.windows[0].limit: must be a whole number in decimal digits"},
		{"per without unit", tierWith("{windows: [{limit: 1, per: 60}]}"), "line 2: tiers.free.windows[0].per: must be a duration with its unit, such as 1m, 500ms or 1d"},
		{"per empty", tierWith("{windows: [{limit: 1, per: }]}"), "line 2: tiers.free.windows[0].per: must be a duration with its unit, such as 1m, 500ms or 1d"},
		{"per too short", tierWith("{windows: [{limit: 1, per: 9ms}]}"), "line 2: tiers.free.windows[0].per: must be from 10ms to 30d, is 9ms"},
		{"per negative", tierWith("{windows: [{limit: 1, per: -1m}]}"), "line 2: tiers.free.windows[0].per: must be from 10ms to 30d, is -1m"},
		{"per too long", tierWith("{windows: [{limit: 1, per: 31d}]}"), "line 2: tiers.free.windows[0].per: must be from 10ms to 30d, is 31d"},
		{"per not whole milliseconds", tierWith("{windows: [{limit: 1, per: 10.5ms}]}"), "line 2: tiers.free.windows[0].per: must be whole milliseconds, is 10.5ms"},
		{"concurrent negative", tierWith("{windows: [{limit: 1}], concurrent: -1}"), "line 2: tiers.free.concurrent: must be from 0 to 100000, is -1"},
		{"concurrent too large", tierWith("{windows: [{limit: 1}], concurrent: 100001}"), "line 2: tiers.free.concurrent: must be from 0 to 100000, is 100001"},
		{"concurrent empty", tierWith("{windows: [{limit: 1}], concurrent: }"), "line 2: tiers.free.concurrent: must be a whole number, is empty"},
		{"max_body zero", tierWith("{windows: [{limit: 1}], max_body: 0}"), "line 2: tiers.free.max_body: must be a size of at least one byte, such as 10MiB, 500kB or 1048576"},
		{"max_body with another unit", tierWith("{windows: [{limit: 1}], max_body: 10M}"), "line 2: tiers.free.max_body: must be a size of at least one byte, such as 10MiB, 500kB or 1048576"},
		{"max_body a list", tierWith("{windows: [{limit: 1}], max_body: []}"), "line 2: tiers.free.max_body: must be a size of at least one byte, such as 10MiB, 500kB or 1048576"},

		// The directory.
		{"keys empty", oneTier + "keys:\n", "line 2: keys: must be a list, is empty"},
		{"keys a mapping", oneTier + "keys: {" + a + ": free}\n", "line 2: keys: must be a list, is a mapping"},
		{"key a text", keysWith("- " + a), "line 3: keys[0]: must be a mapping, is text"},
		{"key without hash", keysWith("- {tier: free}"), "line 3: keys[0].sha256: is required"},
		{"hash too short", keysWith("- {sha256: " + a[1:] + "}"), "line 3: keys[0].sha256: must be 64 hex digits: the SHA-256 of the key, never the key itself"},
		{"hash not hex", keysWith("- {sha256: " + a[1:] + "g}"), "line 3: keys[0].sha256: must be 64 hex digits: the SHA-256 of the key, never the key itself"},
		{"hash a list", keysWith("- {sha256: [" + a + "]}"), "line 3: keys[0].sha256: must be 64 hex digits: the SHA-256 of the key, never the key itself"},
		{"tier of a key unknown", keysWith("- {sha256: " + a + "}\n-\n  sha256: " + b + "\n  tier: pro"), "line 6: keys[1].tier: must be the name of a tier, and tiers has none of this name"},
		{"tier of a key a number", keysWith("- {sha256: " + a + ", tier: 1}"), "line 3: keys[0].tier: must be text, is a number"},
		{"tier of a key absent without default", "tiers: {a: {windows: [{limit: 1}]}, b: {windows: [{limit: 1}]}}\nkeys: [{sha256: " + a + "}]\n", "line 2: keys[0].tier: is required, as the policy has no default tier"},
		{"status unknown", keysWith("- {sha256: " + a + ", status: unknown}"), "line 3: keys[0].status: must be active, suspended or revoked"},
		{"status of another type", keysWith("- {sha256: " + a + ", status: true}"), "line 3: keys[0].status: must be text, is true or false"},
		{"require_known_keys a text", oneTier + "require_known_keys: yes\n", "line 2: require_known_keys: must be true or false, is text"},
		{"require_known_keys a date", oneTier + "require_known_keys: 2024-01-02\n", "line 2: require_known_keys: must be true or false, is a date"},
		{"require_known_keys tagged", oneTier + "require_known_keys: !own x\n", "line 2: require_known_keys: must be true or false, is of another type"},

		{"all at once, in the order of lines", "require_known_keys: 1\ntiers:\n  free: {windows: [{limit: 0}], burst: 1}\ndefault_tier: pro\n",
			"line 1: require_known_keys: must be true or false, is a number\n" +
				"line 3: tiers.free.burst: unknown field; the fields here are windows, concurrent, max_body, shadow\n" +
				"line 3: tiers.free.windows[0].limit: must be from 1 to 1000000000, is 0\n" +
				"line 4: default_tier: must be the name of a tier, and tiers has none of this name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(c.file))
			if err == nil || p != nil {
				t.Fatalf("Parse = %v, %v; want an error", p, err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s\nfile:\n%s", err, c.want, c.file)
			}
		})
	}
}

// Whoever writes a raw key into the file, wherever it is, does not find it in
// the error, and so not in a log.
func TestErrorsHoldNoRawKey(t *testing.T) {
	sample := `
tiers:
  free: {windows: [{limit: 10, per: 1m}], concurrent: 2, max_body: 10MiB}
default_tier: free
keys:
  - {sha256: ` + HashKey("a") + `, tier: free, status: active}
require_known_keys: false
`
	raws := []string{"sk_live_demo_free", "sk-abcdef", "SK_LIVE_9f8e7d6c5b4a", "9f8e7d6c5b4a3f2e1d0c", "4929123412341234", "AbCdEfGhIjKlMnOp", "sk_live_a b"}
	places := scalars(t, sample)
	if len(places) != 22 {
		t.Fatalf("the sample has %d names and values, want 22", len(places))
	}
	for _, raw := range raws {
		files := map[string]string{
			"anchor": "tiers: &" + raw + " 1\n", "alias": "tiers: *" + raw + "\n", "tag": "tiers: !" + raw + " 1\n",
			"alone": raw, "list": "- " + raw, "broken": "keys: [" + raw + "\nx: }", "quote": "keys: '" + raw,
			"directive": "%" + raw + " 1\n---\n", "tag handle": "a: !" + raw + "!x 1\n", "escape": "a: \"\\" + raw + "\"\n",
			"key list": keysWith("- " + raw + ": free"), "key map": keysWith("  " + raw + ": free"),
			"tier map": "tiers: {" + raw + ": pro}\n", "tier": "tiers:\n  " + raw + ": {windows: []}\n",
		}
		for _, n := range places {
			before, rest := cut(sample, n)
			files["for "+n.Value] = before + raw + rest[len(n.Value):]
			files["for the whole of "+n.Value] = before + raw
			files["before "+n.Value] = before + raw + " " + rest
			files["quoted for "+n.Value] = before + "'" + raw + "'" + rest[len(n.Value):]
		}
		for name, file := range files {
			_, err := Parse([]byte(file))
			if err != nil && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(raw)) {
				t.Errorf("%s, %s: the error repeats it: %v", raw, name, err)
			}
		}
	}
}

// cut returns what stands before a scalar in a text, and the rest.
func cut(text string, n *yaml.Node) (before, rest string) {
	at := 0
	for range n.Line - 1 {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	return text[:at+n.Column-1], text[at+n.Column-1:]
}

// scalars returns every name and value of a YAML text, in order.
func scalars(t *testing.T, text string) []*yaml.Node {
	var root yaml.Node
	if err := yaml.Load([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	var all []*yaml.Node
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			all = append(all, n)
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(&root)
	return all
}
