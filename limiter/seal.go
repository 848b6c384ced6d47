package limiter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/dchest/siphash"
)

// A LeaseRef names a lease. It says all that is needed to route to it and to find
// it, without the API key.
type LeaseRef struct {
	Key   Key
	Tier  uint64 // keyed hash of the tier's name
	Run   RunHash
	Nonce uint64
}

// A Sealer turns lease references into lease ids and back. Only who has the
// cluster's secret can make an id. It is safe for concurrent use.
type Sealer struct {
	key        [32]byte
	tier       [2]uint64
	partitions int
}

// NewSealer returns the Sealer for a table of n partitions.
func NewSealer(s Secrets, n int) *Sealer {
	return &Sealer{key: s.seal, tier: s.identity, partitions: n}
}

const (
	leaseVersion = 1
	leaseBody    = 1 + 2 + 16 + 8 + 16 + 8 // version, partition, identity, tier, run, nonce
	sealLen      = 16
	// LeaseIDLen is the length of a lease id, in characters of base64url.
	LeaseIDLen = ((leaseBody+sealLen)*8 + 5) / 6
)

var leaseEncoding = base64.RawURLEncoding.Strict()

// Tier returns what a LeaseRef has for the tier of this name.
func (s *Sealer) Tier(name string) uint64 {
	return siphash.Hash(s.tier[0], s.tier[1], []byte(name))
}

// Seal returns the lease id of ref: its fields, and an HMAC-SHA256 over them cut to
// 128 bits, in base64url.
func (s *Sealer) Seal(ref LeaseRef) string {
	b := make([]byte, 0, leaseBody+sha256.Size)
	b = append(b, leaseVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(ref.Key.Partition))
	b = binary.BigEndian.AppendUint64(b, ref.Key.ID.hi)
	b = binary.BigEndian.AppendUint64(b, ref.Key.ID.lo)
	b = binary.BigEndian.AppendUint64(b, ref.Tier)
	b = binary.BigEndian.AppendUint64(b, ref.Run.hi)
	b = binary.BigEndian.AppendUint64(b, ref.Run.lo)
	b = binary.BigEndian.AppendUint64(b, ref.Nonce)
	b = s.mac(b, b)
	return leaseEncoding.EncodeToString(b[:leaseBody+sealLen])
}

// Open returns the reference that id names. ok is false if this cluster has not
// sealed it.
func (s *Sealer) Open(id string) (ref LeaseRef, ok bool) {
	if len(id) != LeaseIDLen {
		return LeaseRef{}, false
	}
	b, err := leaseEncoding.DecodeString(id) // which passes over line ends
	if err != nil || len(b) != leaseBody+sealLen || b[0] != leaseVersion {
		return LeaseRef{}, false
	}
	mac := s.mac(make([]byte, 0, sha256.Size), b[:leaseBody])
	if !hmac.Equal(mac[:sealLen], b[leaseBody:]) {
		return LeaseRef{}, false
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	ref = LeaseRef{
		Key:   Key{PartitionID(binary.BigEndian.Uint16(b[1:])), Identity{u64(3), u64(11)}},
		Tier:  u64(19),
		Run:   RunHash{u64(27), u64(35)},
		Nonce: u64(43),
	}
	return ref, int(ref.Key.Partition) < s.partitions
}

func (s *Sealer) mac(dst, body []byte) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write(body)
	return h.Sum(dst)
}
