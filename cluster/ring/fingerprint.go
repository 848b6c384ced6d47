package ring

import (
	"encoding/binary"
	"math"

	"github.com/dchest/siphash"
)

// version grows when anything in how owners are computed changes that no number below tells: the
// hash, its keys, the package underneath.
const version = 1

// Fingerprint returns a fingerprint of the ring's configuration: nodes whose fingerprints differ
// would disagree on who owns what, and must not form a cluster. It is never 0.
func Fingerprint(partitions int) uint64 {
	b := binary.BigEndian.AppendUint64(nil, version)
	b = binary.BigEndian.AppendUint64(b, uint64(partitions))
	b = binary.BigEndian.AppendUint64(b, virtualNodes)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(load))
	return fingerprint(b)
}

// viewID is the fingerprint of a view: of what its table is computed from, and of the table itself
// only if it is not computed.
func viewID(members []Member, t *table) uint64 {
	b := binary.BigEndian.AppendUint64(nil, Fingerprint(len(t.owners)))
	b = binary.AppendUvarint(b, uint64(len(members)))
	for _, m := range members {
		b = appendName(b, m.Name)
		b = binary.BigEndian.AppendUint64(b, m.Boot)
		if m.Draining {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	if t.given {
		for p := range t.owners {
			b = binary.AppendVarint(b, int64(t.owners[p]))
			b = binary.AppendVarint(b, int64(t.successors[p]))
		}
	}
	return fingerprint(b)
}

// appendName appends a name with its length, so that no two lists of names read the same.
func appendName(b []byte, name string) []byte {
	b = binary.AppendUvarint(b, uint64(len(name)))
	return append(b, name...)
}

func fingerprint(b []byte) uint64 {
	return max(hasher{}.Sum64(b), 1)
}

// A hasher is the hash of the ring: 64 bits, so that no two of its points meet. Its keys are no
// secret; they are the same everywhere and for ever.
type hasher struct{}

// Sum64 is what package consistent asks for.
func (hasher) Sum64(b []byte) uint64 {
	return siphash.Hash(0x736c756963652e72, 0x696e672e76310000, b)
}
