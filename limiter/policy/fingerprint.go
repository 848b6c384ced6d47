package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"

	"github.com/overten/sluice/limiter"
)

// fingerprintVersion goes up when the same policy is to have another fingerprint.
const fingerprintVersion = 2

// computeFingerprint hashes what the policy means: tiers by name, keys by hash,
// every text with its length before it, so that no two policies read the same.
func (p *Policy) computeFingerprint() string {
	w := meaning{sha256.New()}
	w.number(fingerprintVersion)
	tiers := slices.SortedFunc(slices.Values(p.tiers), func(a, b *limiter.Tier) int {
		return cmp.Compare(a.Name(), b.Name())
	})
	w.number(int64(len(tiers)))
	for _, t := range tiers {
		w.tier(t)
	}
	if p.defaultTier != nil {
		w.text(p.defaultTier.Name())
	} else {
		w.text("")
	}
	w.truth(p.requireKnown)
	w.number(int64(len(p.keys)))
	for _, h := range slices.SortedFunc(maps.Keys(p.keys), func(a, b keyHash) int {
		return bytes.Compare(a[:], b[:])
	}) {
		e := p.keys[h]
		w.hash.Write(h[:])
		w.text(p.tierAt(e.tier).Name())
		w.number(int64(e.status))
		own := e.tier >= uint32(len(p.tiers))
		if w.truth(own); own {
			w.tier(p.tierAt(e.tier))
		}
	}
	return hex.EncodeToString(w.hash.Sum(nil)[:8])
}

// meaning writes values into a hash so that they could be read back.
type meaning struct{ hash hash.Hash }

func (w meaning) number(n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	w.hash.Write(b[:])
}

func (w meaning) truth(b bool) {
	n := int64(0)
	if b {
		n = 1
	}
	w.number(n)
}

func (w meaning) text(s string) {
	w.number(int64(len(s)))
	w.hash.Write([]byte(s))
}

func (w meaning) tier(t *limiter.Tier) {
	w.text(t.Name())
	w.number(int64(len(t.Windows())))
	for _, win := range t.Windows() {
		w.number(int64(win.Limit))
		w.number(int64(win.Per))
	}
	w.number(int64(t.Concurrent()))
	w.number(t.MaxBody())
	w.number(int64(t.RetryHint()))
	w.truth(t.Shadow())
}
