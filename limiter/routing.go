package limiter

import "encoding/binary"

// RoutingKeyLen is the length of the key that partitions are found by, in bytes.
const RoutingKeyLen = 16

// RoutingKey returns what a client needs to find the partition of an API key by itself:
// the key of the SipHash-2-4 whose value, modulo the number of partitions, it is, as two
// little-endian halves. Identities and the seals of leases have other keys, which it does
// not tell.
func (h *Hasher) RoutingKey() []byte {
	b := make([]byte, 0, RoutingKeyLen)
	b = binary.LittleEndian.AppendUint64(b, h.routing[0])
	return binary.LittleEndian.AppendUint64(b, h.routing[1])
}
