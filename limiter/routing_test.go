package limiter

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dchest/siphash"
)

// Who has the routing key, and nothing else of the secret, finds each key's partition; but
// not its identity.
func TestRoutingKeyFindsPartitions(t *testing.T) {
	const partitions = 1021
	secrets, err := NewSecrets([]byte("the secret of the cluster"))
	if err != nil {
		t.Fatal(err)
	}
	h := NewHasher(secrets, partitions)
	routing := h.RoutingKey()
	if len(routing) != RoutingKeyLen {
		t.Fatalf("%d bytes, want %d", len(routing), RoutingKeyLen)
	}
	k0, k1 := binary.LittleEndian.Uint64(routing), binary.LittleEndian.Uint64(routing[8:])
	for i := range 1000 {
		raw := fmt.Sprintf("sk_live_%d", i)
		want := h.Key(raw)
		if got := PartitionID(siphash.Hash(k0, k1, []byte(raw)) % partitions); got != want.Partition {
			t.Fatalf("%s: partition %d by the routing key, %d by the hasher", raw, got, want.Partition)
		}
		if hi, lo := siphash.Hash128(k0, k1, []byte(raw)); (Identity{hi, lo}) == want.ID {
			t.Fatalf("%s: the routing key gives the identity", raw)
		}
	}
	routing[0]++
	if h.RoutingKey()[0] == routing[0] {
		t.Error("the caller changed the hasher's key")
	}
}
