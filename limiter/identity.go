package limiter

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/dchest/siphash"
)

// MaxKeyLen is the length of the longest key, in bytes. The shortest has one.
const MaxKeyLen = 256

// An Identity is the keyed 128-bit hash by which a key is known inside. Without
// the cluster's secret nobody can tell which key it stands for, nor make keys
// that collide.
type Identity struct{ hi, lo uint64 }

// String returns the identity as 32 hex digits.
func (id Identity) String() string { return fmt.Sprintf("%016x%016x", id.hi, id.lo) }

// A PartitionID numbers a partition, from 0.
type PartitionID uint16

// A Key is an API key as the engine knows it: where it belongs, and who it is.
type Key struct {
	Partition PartitionID
	ID        Identity
}

// Secrets are the keys that a cluster's secret gives: for identities, for
// routing, and for the seals of leases. Each is of use alone, and none tells
// another.
type Secrets struct {
	identity, routing [2]uint64
	seal              [32]byte
}

// MinSecretLen is the least length of a cluster's secret, in bytes.
const MinSecretLen = 16

// NewSecrets derives the keys from a secret of at least MinSecretLen bytes, by
// HKDF-SHA256 (RFC 5869) with a label for each.
func NewSecrets(secret []byte) (Secrets, error) {
	var s Secrets
	if len(secret) < MinSecretLen {
		return s, fmt.Errorf("secret has %d bytes, must have at least %d", len(secret), MinSecretLen)
	}
	identity, err1 := hkdf.Key(sha256.New, secret, nil, "sluice identity v1", 16)
	routing, err2 := hkdf.Key(sha256.New, secret, nil, "sluice routing v1", 16)
	seal, err3 := hkdf.Key(sha256.New, secret, nil, "sluice lease seal v1", len(s.seal))
	if err := errors.Join(err1, err2, err3); err != nil {
		return s, err
	}
	s.identity = sipKey(identity)
	s.routing = sipKey(routing)
	copy(s.seal[:], seal)
	return s, nil
}

// Fingerprint tells whether two nodes have the same secrets, and nothing about them.
func (s Secrets) Fingerprint() uint64 {
	h := hmac.New(sha256.New, s.seal[:])
	h.Write([]byte("sluice fingerprint v1"))
	for _, k := range [...][2]uint64{s.identity, s.routing} {
		h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, k[0]), k[1]))
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

func sipKey(b []byte) [2]uint64 {
	return [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// A Hasher finds the Key of an API key. It is immutable.
type Hasher struct {
	identity, routing [2]uint64
	partitions        uint64
}

// NewHasher returns the Hasher for a table of n partitions.
func NewHasher(s Secrets, n int) Hasher {
	return Hasher{identity: s.identity, routing: s.routing, partitions: uint64(n)}
}

// Key hashes an API key. The partition comes from a hash of its own, so that
// clients can be told how to route without being told how identities are made.
// It copies no byte of the key.
func (h *Hasher) Key(key string) Key {
	b := unsafe.Slice(unsafe.StringData(key), len(key))
	hi, lo := siphash.Hash128(h.identity[0], h.identity[1], b)
	return Key{
		Partition: PartitionID(siphash.Hash(h.routing[0], h.routing[1], b) % h.partitions),
		ID:        Identity{hi, lo},
	}
}

// A RunHash is the keyed 128-bit hash of a run_id.
type RunHash struct{ hi, lo uint64 }

// Run hashes a run_id. The same run_id under two keys is two runs, as runs are
// looked up within their key.
func (h *Hasher) Run(runID string) RunHash {
	hi, lo := siphash.Hash128(h.identity[0], h.identity[1], unsafe.Slice(unsafe.StringData(runID), len(runID)))
	return RunHash{hi, lo}
}
