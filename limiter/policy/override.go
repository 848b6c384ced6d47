package policy

import (
	"crypto/sha256"
	"encoding/hex"

	"go.yaml.in/yaml/v4"

	"github.com/overten/sluice/limiter"
)

// override gives an entry a tier of its own if it has limits of its own: that of the entry with
// these in place of the tier's. It keeps the tier's name, by which people know it.
func (b *builder) override(e *entry, h keyHash, f map[string]field, item *yaml.Node, at string) {
	windows, hasWindows := f["windows"]
	concurrent, hasConcurrent := f["concurrent"]
	if !hasWindows && !hasConcurrent {
		return
	}
	before := b.count()
	var spec limiter.TierSpec
	if hasWindows {
		spec.Windows = b.windows(windows, join(at, "windows"))
	}
	if hasConcurrent {
		spec.Concurrent = b.concurrent(concurrent, join(at, "concurrent"))
	}
	if before > 0 || b.count() > before {
		return // its tier may not be there; and nothing becomes of the policy
	}
	base := b.policy.tiers[e.tier]
	if !hasWindows {
		spec.Windows = base.Windows()
	}
	if !hasConcurrent {
		spec.Concurrent = base.Concurrent()
	}
	spec.Name, spec.MaxBody, spec.RetryHint, spec.Shadow, spec.Variant = base.Name(), base.MaxBody(), base.RetryHint(), base.Shadow(), variant(h)
	t, err := limiter.NewTier(spec)
	if err != nil { // a bound of the engine that is not checked above
		b.report(item.Line, at, "%v", err)
		return
	}
	e.tier = uint32(len(b.policy.tiers) + len(b.policy.overrides))
	b.policy.overrides = append(b.policy.overrides, t)
	b.policy.byRef[t.Ref()] = t
}

// variant names the tier of one key among nodes. It stays when the limits change, so that a node
// which has not read the change yet finds its own; and it is neither the key nor the hash by which
// the directory knows it.
func variant(h keyHash) string {
	of := sha256.Sum256(append([]byte("sluice override v1 "), h[:]...))
	return hex.EncodeToString(of[:16])
}
