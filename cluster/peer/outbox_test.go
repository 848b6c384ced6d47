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

// A state that alone is larger than all that may wait leaves what is about its partition its room:
// the stream once began anew for ever, as each time the next hit was dropped.
func TestChangesFollowAHugeState(t *testing.T) {
	const p = limiter.PartitionID(5)
	state := make([]byte, maxWaiting+1<<20)
	huge := func(p limiter.PartitionID) *ownership.Copying {
		return &ownership.Copying{Snapshots: []ownership.Snapshot{{Partition: p, At: ownership.Position{Gen: gen(), Seq: 1}, State: state}}}
	}
	delta := func(seq uint64) *ownership.Copying {
		return &ownership.Copying{Deltas: []ownership.Delta{{Partition: p, Changes: limiter.Changes{First: seq, Last: seq, Bytes: []byte("hit")}}}}
	}
	o := newOutbox()
	o.copying(huge(p))
	for seq := range uint64(3) {
		o.copying(delta(seq))
	}
	if letters, dropped := o.hurried(nil); dropped || len(letters) > 0 {
		t.Fatalf("%d letters overtake the state, dropped: %v", len(letters), dropped)
	}
	first, _ := o.next()
	o.copying(delta(3)) // while it is written
	if len(first.copying.Snapshots) != 1 {
		t.Fatalf("first comes %+v", first.copying)
	}
	o.written(first)
	for seq := range uint64(4) {
		l, ok := o.next()
		if !ok || len(l.copying.Deltas) != 1 || l.copying.Deltas[0].Changes.First != seq {
			t.Fatalf("change %d: %+v, %v", seq, l.copying, ok)
		}
		o.written(l)
	}
	if o.large.bytes != 0 || o.large.huge || len(o.behind) > 0 {
		t.Errorf("something is left of what was written: %+v, %v", o.large, o.behind)
	}
	o.copying(huge(p))
	o.copying(huge(p + 1))
	if _, dropped := o.hurried(nil); !dropped {
		t.Error("two states that are larger than all that may wait do")
	}
}

// A heartbeat does not wait for the remainders of the same frame: it once came so late on a slow link
// that its sender was taken for dead.
func TestAHeartbeatDoesNotWaitForRemainders(t *testing.T) {
	o := newOutbox()
	f := &ownership.Frame{
		Stamp: 7, Heartbeat: &ownership.Heartbeat{View: 1}, Taken: []ownership.Taken{{Partition: 2}},
		Remainders: []ownership.Remainder{{Partition: 3, State: make([]byte, pieceBytes)}},
	}
	for range 1021 {
		f.Asks = append(f.Asks, ownership.Ask{Parent: ownership.Position{Gen: gen()}})
		f.Pledges = append(f.Pledges, ownership.Pledge{Known: gen()})
	}
	o.frame(f)
	letters, _ := o.hurried(nil)
	if len(letters) != 3 || letters[0].frame.Heartbeat == nil || len(letters[0].frame.Taken) != 1 ||
		len(letters[1].frame.Asks) != 1021 || len(letters[2].frame.Pledges) != 1021 {
		t.Fatalf("what goes first: %+v", letters)
	}
	for _, l := range letters {
		if l.frame.Stamp != 7 || len(l.frame.Remainders) > 0 {
			t.Errorf("what goes first: %+v", l.frame)
		}
	}
	l, ok := o.next()
	if !ok || l.frame.Stamp != 7 || l.frame.Heartbeat != nil || len(l.frame.Remainders) != 1 {
		t.Errorf("what goes then: %+v, %v", l, ok)
	}
}
