// Package policy reads the policy file: which tiers there are, what each
// allows, and, in an optional directory, which key is of which tier and status.
//
// [Load] turns the file into an immutable [Policy], or into an [Error] that
// lists what is wrong line by line; nothing is ever half taken. [Default] is the
// policy of a node without a file. [Policy.Resolve] is the question that every
// request asks: whose tier counts for this key, and may the key be used at all?
//
// The directory knows keys by their SHA-256 only. No raw key is stored, and none
// appears in an error, not even one that was written into the file by mistake.
package policy

import (
	"errors"
	"strings"
	"time"

	"github.com/overten/sluice/limiter"
)

// MaxTiers is the largest number of tiers in a policy.
const MaxTiers = 1000

// Errors of [Policy.Resolve]. Both are the caller's: the call is malformed.
var (
	ErrUnknownTier = errors.New("no such tier")
	ErrNoTier      = errors.New("no tier is named and the policy has no default tier")
)

// A Status says whether a key may be used. Its zero value refuses.
type Status uint8

// The statuses of a key. Only an Active key is decided by its tier; each of the
// others is the reason of a denial.
const (
	Unknown   Status = iota // the policy requires known keys and the directory lacks this one
	Active                  // usable: listed as active, or not listed where that is not required
	Suspended               // listed as suspended: may come back
	Revoked                 // listed as revoked: gone for good
)

// String returns the status as the policy file spells it; "unknown" is never in a file.
func (s Status) String() string {
	switch s {
	case Active:
		return "active"
	case Suspended:
		return "suspended"
	case Revoked:
		return "revoked"
	}
	return "unknown"
}

// A Resolution is what a policy says of one key.
type Resolution struct {
	Tier   *limiter.Tier // nil if and only if Status is Unknown
	Status Status
	Known  bool // the directory lists the key
}

// entry is what the directory says of a key. It has no pointer, so that the
// garbage collector need not look into a large directory.
type entry struct {
	tier   uint32 // index into Policy.tiers, and from there on into Policy.overrides
	status Status
}

// A Policy is the set of tiers and the directory of keys. It is immutable and
// safe for concurrent use.
type Policy struct {
	tiers        []*limiter.Tier // in file order, at most MaxTiers
	byName       map[string]*limiter.Tier
	overrides    []*limiter.Tier          // tiers of single keys
	byRef        map[string]*limiter.Tier // these
	defaultTier  *limiter.Tier            // nil: a call must name its tier, unless the directory knows its key
	keys         map[keyHash]entry
	requireKnown bool
	fingerprint  string
}

// Default returns the policy of a node without a policy file: the tiers free
// (the default), pro and enterprise, and no directory.
func Default() *Policy {
	p := &Policy{byName: make(map[string]*limiter.Tier)}
	for _, b := range []struct {
		name       string
		perMinute  uint32
		concurrent uint32
		maxBody    int64
	}{
		{"free", 10, 2, 10 << 20},
		{"pro", 60, 10, 50 << 20},
		{"enterprise", 600, 50, 200 << 20},
	} {
		// These constants are in range, which the tests hold: there is no error.
		t, _ := limiter.NewTier(limiter.TierSpec{
			Name:       b.name,
			Windows:    []limiter.Window{{Limit: b.perMinute, Per: defaultPer}},
			Concurrent: b.concurrent,
			MaxBody:    b.maxBody,
		})
		p.add(t)
	}
	p.defaultTier = p.tiers[0]
	p.fingerprint = p.computeFingerprint()
	return p
}

func (p *Policy) add(t *limiter.Tier) {
	p.tiers = append(p.tiers, t)
	p.byName[t.Name()] = t
}

// Resolve says which tier counts for key and whether the key may be used. tier
// is the tier that the call names, or empty.
//
// The directory's tier counts, else the call's, else the default. The error is
// [ErrUnknownTier] when the call names a tier that does not exist, even where
// the directory's would count, and [ErrNoTier] when nobody names one. A key that
// is refused is no error: see [Status].
//
// Resolve does not allocate, and leaves no copy of key in memory.
func (p *Policy) Resolve(key, tier string) (Resolution, error) {
	t := p.defaultTier
	if tier != "" {
		named, ok := p.byName[tier]
		if !ok {
			return Resolution{}, ErrUnknownTier
		}
		t = named
	}
	if len(p.keys) > 0 { // without a directory no key is hashed
		if e, ok := p.keys[hashOf(key)]; ok {
			return Resolution{Tier: p.tierAt(e.tier), Status: e.status, Known: true}, nil
		}
	}
	switch {
	case p.requireKnown:
		return Resolution{Status: Unknown}, nil
	case t == nil:
		return Resolution{}, ErrNoTier
	}
	return Resolution{Tier: t, Status: Active}, nil
}

// Tier returns the tier of that name.
func (p *Policy) Tier(name string) (*limiter.Tier, bool) {
	t, ok := p.byName[name]
	return t, ok
}

// ByRef returns the tier that [limiter.Tier.Ref] names. Of a variant that this policy does not
// have it is the tier of that name.
func (p *Policy) ByRef(ref string) (*limiter.Tier, bool) {
	if t, ok := p.byName[ref]; ok {
		return t, true
	}
	if t, ok := p.byRef[ref]; ok {
		return t, true
	}
	name, _, _ := strings.Cut(ref, "~")
	return p.Tier(name)
}

func (p *Policy) tierAt(i uint32) *limiter.Tier {
	if named := uint32(len(p.tiers)); i >= named {
		return p.overrides[i-named]
	}
	return p.tiers[i]
}

// Overrides returns how many keys of the directory have limits of their own.
func (p *Policy) Overrides() int { return len(p.overrides) }

// Tiers returns all tiers in the order of the file. The caller may keep and
// change the slice.
func (p *Policy) Tiers() []*limiter.Tier { return append([]*limiter.Tier(nil), p.tiers...) }

// Longest returns the longest window of any tier or key.
func (p *Policy) Longest() (longest time.Duration) {
	for _, of := range [...][]*limiter.Tier{p.tiers, p.overrides} {
		for _, t := range of {
			longest = max(longest, t.Longest())
		}
	}
	return longest
}

// LargestLimit returns the largest limit of any tier's or key's windows.
func (p *Policy) LargestLimit() (largest uint32) {
	for _, of := range [...][]*limiter.Tier{p.tiers, p.overrides} {
		for _, t := range of {
			largest = max(largest, t.LargestLimit())
		}
	}
	return largest
}

// DefaultTier returns the tier of calls that name none, or nil if they must.
func (p *Policy) DefaultTier() *limiter.Tier { return p.defaultTier }

// RequireKnownKeys tells whether a key that the directory lacks is refused.
func (p *Policy) RequireKnownKeys() bool { return p.requireKnown }

// Keys returns the number of keys in the directory.
func (p *Policy) Keys() int { return len(p.keys) }

// Fingerprint returns 16 hex digits over the meaning of the policy: two policies
// have the same one if they decide alike, however their files are written. The
// order of tiers and of keys has no meaning.
func (p *Policy) Fingerprint() string { return p.fingerprint }
