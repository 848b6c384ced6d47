package peer

import (
	"testing"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// However much is acknowledged at one time, no letter is larger than a piece, and all goes out in
// its order.
func TestManyAcknowledgementsAreSplit(t *testing.T) {
	const acks = 40_000
	c := &ownership.Copying{Stamp: 7, Patient: true}
	for i := range acks {
		c.Acks = append(c.Acks, ownership.Ack{Partition: limiter.PartitionID(i), At: ownership.Position{Gen: gen(), Seq: uint64(i)}})
	}
	o := newOutbox()
	o.copying(c)
	letters, dropped := o.hurried(nil)
	if dropped || len(letters) < 2 {
		t.Fatalf("%d letters, dropped: %v", len(letters), dropped)
	}
	next := 0
	for i := range letters {
		b, err := letters[i].append(nil)
		if err != nil || len(b) > pieceBytes {
			t.Fatalf("letter %d has %d bytes: %v", i, len(b), err)
		}
		got, err := decodeCopying(b)
		if err != nil || got.Stamp != c.Stamp || !got.Patient {
			t.Fatalf("letter %d: %+v, %v", i, got, err)
		}
		for _, a := range got.Acks {
			if a != c.Acks[next] {
				t.Fatalf("acknowledgement %d is %+v, want %+v", next, a, c.Acks[next])
			}
			next++
		}
	}
	if next != acks {
		t.Errorf("%d acknowledgements of %d were sent", next, acks)
	}
}
