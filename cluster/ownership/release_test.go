package ownership

import (
	"testing"

	"github.com/overten/sluice/limiter"
)

// A copying that was reset has nothing of what it had, for whoever gets its memory.
func TestResetCopyingsAreEmpty(t *testing.T) {
	c := new(Copying)
	for range 3 {
		if c.Stamp != 0 || c.Patient || len(c.Deltas)+len(c.Acks)+len(c.Snapshots) > 0 {
			t.Fatalf("a new copying has %+v", c)
		}
		for _, d := range c.Deltas[:cap(c.Deltas)] {
			if d.Changes.Bytes != nil || d.Mark != (Position{}) {
				t.Fatalf("a new copying holds on to %+v", d)
			}
		}
		for i := range 20 {
			c.Deltas = append(c.Deltas, Delta{
				Partition: limiter.PartitionID(i), Changes: limiter.Changes{Bytes: []byte{1}}, Mark: Position{Seq: 1},
			})
			c.Acks = append(c.Acks, Ack{Partition: limiter.PartitionID(i), Gap: true})
		}
		c.Stamp, c.Patient = 7, true
		c.Reset()
	}
}

// A peer is owed one acknowledgement of a partition, however many changes it is of.
func TestAcknowledgementsAreOwedOnce(t *testing.T) {
	var p peer
	for range 3 {
		for _, id := range []limiter.PartitionID{1020, 0, 63, 64} {
			p.owe(id)
		}
	}
	if len(p.owed) != 4 || p.owed[0] != 1020 || p.owed[3] != 64 {
		t.Errorf("it is owed %v", p.owed)
	}
	p.settled()
	p.owe(0)
	if len(p.owed) != 1 || p.owed[0] != 0 {
		t.Errorf("once settled it is owed %v", p.owed)
	}
}
