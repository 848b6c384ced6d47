package policy

import (
	"encoding/hex"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/overten/sluice/limiter"
)

// A builder makes a policy out of the fields of a file. What it makes is of use
// only if no problem was reported.
type builder struct {
	*decoder
	policy *Policy

	// declared has the position of each tier in the file, also of those with
	// problems, which are not in policy: a key of such a tier is no second problem.
	// It is nil when the tiers cannot be read at all.
	declared map[string]int
}

// policy reads the whole file.
func (d *decoder) policy(root *yaml.Node) *Policy {
	b := builder{decoder: d, policy: &Policy{byName: make(map[string]*limiter.Tier)}}
	f, ok := d.fields(field{root.Line, root}, "", "tiers", "default_tier", "keys", "require_known_keys")
	if !ok {
		return nil
	}
	if tiers, ok := f["tiers"]; ok {
		b.tiers(tiers)
	} else {
		d.report(root.Line, "tiers", "is required")
	}
	if name, ok := f["default_tier"]; ok {
		b.defaultTier(name)
	} else if len(b.policy.tiers) == 1 {
		b.policy.defaultTier = b.policy.tiers[0]
	}
	if keys, ok := f["keys"]; ok {
		_, named := f["default_tier"]
		b.keys(keys, named || len(b.declared) == 1 || b.declared == nil)
	}
	if known, ok := f["require_known_keys"]; ok {
		b.policy.requireKnown, _ = d.boolean(known, "require_known_keys")
	}
	return b.policy
}

func (b *builder) tiers(f field) {
	if f.value.Kind != yaml.MappingNode {
		b.wrongType(f, "tiers", "a mapping")
		return
	}
	content := f.value.Content
	if n := len(content) / 2; n < 1 || n > MaxTiers {
		b.report(f.line, "tiers", "must have 1 to %d tiers, has %d", MaxTiers, n)
		return
	}
	b.declared = make(map[string]int, len(content)/2)
	lines := make(map[string]int, len(content)/2)
	for i := 0; i+1 < len(content); i += 2 {
		name, value := content[i], content[i+1]
		at := index("tiers", i/2)
		if name.Kind != yaml.ScalarNode || name.Tag != "!!str" || !validName(name.Value) {
			b.report(name.Line, at, "a tier's name must be text of 1 to %d letters, digits, _ and -", limiter.MaxTierName)
			continue
		}
		if showable(name.Value) {
			at = join("tiers", name.Value)
		}
		if first, twice := lines[name.Value]; twice {
			b.report(name.Line, at, "is given twice, first on line %d", first)
			continue
		}
		lines[name.Value], b.declared[name.Value] = name.Line, i/2
		if t := b.tier(field{name.Line, value}, at, name.Value); t != nil {
			b.policy.add(t)
		}
	}
}

// validName tells whether a tier may have this name. The engine takes any text;
// a name of the policy file is also one for flags, headers, metrics and logs.
func validName(name string) bool {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return name != "" && len(name) <= limiter.MaxTierName && strings.Trim(name, chars) == ""
}

// tier reads one tier, or returns nil after reporting what is wrong with it.
func (b *builder) tier(tier field, at, name string) *limiter.Tier {
	f, ok := b.fields(tier, at, "windows", "concurrent", "max_body", "shadow")
	if !ok {
		return nil
	}
	before := b.count()
	spec := limiter.TierSpec{Name: name}
	if windows, ok := f["windows"]; ok {
		spec.Windows = b.windows(windows, join(at, "windows"))
	} else {
		b.report(tier.line, join(at, "windows"), "is required")
	}
	if concurrent, ok := f["concurrent"]; ok {
		spec.Concurrent = b.concurrent(concurrent, join(at, "concurrent"))
	}
	if shadow, ok := f["shadow"]; ok {
		spec.Shadow, _ = b.boolean(shadow, join(at, "shadow"))
	}
	if maxBody, ok := f["max_body"]; ok {
		spec.MaxBody = b.size(maxBody, join(at, "max_body"))
	}
	if b.count() > before {
		return nil
	}
	t, err := limiter.NewTier(spec)
	if err != nil { // a bound of the engine that is not checked above
		b.report(tier.line, at, "%v", err)
	}
	return t
}

func (b *builder) concurrent(f field, at string) uint32 {
	return uint32(b.integer(f, at, 0, limiter.MaxConcurrent))
}

func (b *builder) windows(f field, at string) []limiter.Window {
	items, ok := b.items(f, at)
	if !ok {
		return nil
	}
	if len(items) < 1 || len(items) > limiter.MaxWindows {
		b.report(f.line, at, "must have 1 to %d windows, has %d", limiter.MaxWindows, len(items))
		return nil
	}
	windows := make([]limiter.Window, 0, len(items))
	for i, item := range items {
		windows = append(windows, b.window(item, index(at, i)))
	}
	return windows
}

func (b *builder) window(item *yaml.Node, at string) limiter.Window {
	w := limiter.Window{Per: defaultPer}
	f, ok := b.fields(field{item.Line, item}, at, "limit", "per")
	if !ok {
		return w
	}
	if limit, ok := f["limit"]; ok {
		n := b.integer(limit, join(at, "limit"), 1, limiter.MaxLimit)
		w.Limit = uint32(n)
	} else {
		b.report(item.Line, join(at, "limit"), "is required")
	}
	if per, ok := f["per"]; ok {
		w.Per = b.period(per, join(at, "per"))
	}
	return w
}

// defaultTier reads the name of the default tier.
func (b *builder) defaultTier(f field) {
	name, ok := b.text(f, "default_tier")
	if !ok || b.declared == nil {
		return
	}
	if _, ok := b.declared[name]; !ok {
		b.report(f.line, "default_tier", "must be the name of a tier, and tiers has none of this name")
		return
	}
	b.policy.defaultTier = b.policy.byName[name]
}

// keys reads the directory. hasDefault is false when an entry must name its tier.
func (b *builder) keys(f field, hasDefault bool) {
	items, ok := b.items(f, "keys")
	if !ok {
		return
	}
	b.policy.keys = make(map[keyHash]entry, len(items))
	b.policy.byRef = make(map[string]*limiter.Tier)
	lines := make(map[keyHash]int, len(items))
	for i, item := range items {
		at := index("keys", i)
		f, ok := b.fields(field{item.Line, item}, at, "sha256", "tier", "status", "windows", "concurrent")
		if !ok {
			continue
		}
		e := entry{tier: b.keyTier(f, item, at, hasDefault), status: b.keyStatus(f, at)}
		h, ok := b.keyHash(f, item, at)
		if !ok {
			continue
		}
		if first, twice := lines[h]; twice {
			b.report(f["sha256"].line, join(at, "sha256"), "is given twice, first on line %d", first)
			continue
		}
		b.override(&e, h, f, item, at)
		lines[h], b.policy.keys[h] = f["sha256"].line, e
	}
}

// keyHash reads an entry's sha256. It takes the digits as they are written: a
// hash that looks like a number to YAML is a hash none the less.
func (b *builder) keyHash(f map[string]field, item *yaml.Node, at string) (h keyHash, ok bool) {
	sum, ok := f["sha256"]
	if !ok {
		b.report(item.Line, join(at, "sha256"), "is required")
		return h, false
	}
	if sum.value.Kind == yaml.ScalarNode && len(sum.value.Value) == hex.EncodedLen(len(h)) {
		if _, err := hex.Decode(h[:], []byte(sum.value.Value)); err == nil {
			return h, true
		}
	}
	b.report(sum.line, join(at, "sha256"), "must be 64 hex digits: the SHA-256 of the key, never the key itself")
	return h, false
}

// keyTier reads an entry's tier, as an index; absent, it is the default tier's.
func (b *builder) keyTier(f map[string]field, item *yaml.Node, at string, hasDefault bool) uint32 {
	at = join(at, "tier")
	tier, ok := f["tier"]
	if !ok {
		if !hasDefault {
			b.report(item.Line, at, "is required, as the policy has no default tier")
			return 0
		}
		if b.policy.defaultTier == nil {
			return 0 // it has a problem of its own
		}
		return uint32(b.declared[b.policy.defaultTier.Name()])
	}
	name, ok := b.text(tier, at)
	if !ok || b.declared == nil {
		return 0
	}
	i, ok := b.declared[name]
	if !ok {
		b.report(tier.line, at, "must be the name of a tier, and tiers has none of this name")
	}
	return uint32(i)
}

func (b *builder) keyStatus(f map[string]field, at string) Status {
	status, ok := f["status"]
	if !ok {
		return Active
	}
	name, ok := b.text(status, join(at, "status"))
	if !ok {
		return Unknown
	}
	for _, s := range []Status{Active, Suspended, Revoked} {
		if name == s.String() {
			return s
		}
	}
	b.report(status.line, join(at, "status"), "must be %v, %v or %v", Active, Suspended, Revoked)
	return Unknown
}

// size reads a size in bytes.
func (b *builder) size(f field, at string) int64 {
	if f.value.Kind == yaml.ScalarNode {
		if n, ok := parseSize(f.value.Value); ok {
			return n
		}
	}
	b.report(f.line, at, "must be a size of at least one byte, such as 10MiB, 500kB or 1048576")
	return 0
}

// period reads the length of a window.
func (b *builder) period(f field, at string) time.Duration {
	d, ok := time.Duration(0), false
	if f.value.Kind == yaml.ScalarNode {
		d, ok = parsePer(f.value.Value)
	}
	switch {
	case !ok:
		b.report(f.line, at, "must be a duration with its unit, such as 1m, 500ms or 1d")
	case d < limiter.MinPer || d > limiter.MaxPer:
		b.report(f.line, at, "must be from %s to %s, is %s", formatPer(limiter.MinPer), formatPer(limiter.MaxPer), formatPer(d))
	case d%time.Millisecond != 0:
		b.report(f.line, at, "must be whole milliseconds, is %s", formatPer(d))
	}
	return d
}
