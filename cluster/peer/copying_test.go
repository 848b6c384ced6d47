package peer

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

func livesToProto(list []life) []*peerv1.Life {
	return each(list, func(l *life) *peerv1.Life { return &peerv1.Life{Name: l.name, Boot: l.boot} })
}

func livesOf(list []*peerv1.Life) []life {
	return each(list, func(l **peerv1.Life) life { return life{(*l).GetName(), (*l).GetBoot()} })
}

// copyingToProto is what appendCopying encodes.
func copyingToProto(c *ownership.Copying) *peerv1.Copying {
	l := new(lives)
	m := &peerv1.Copying{
		Stamp: int64(c.Stamp),
		Snapshots: each(c.Snapshots, func(s *ownership.Snapshot) *peerv1.Snapshot {
			return &peerv1.Snapshot{Partition: uint32(s.Partition), At: l.position(s.At), Past: l.positions(s.Past), State: s.State, Closed: int64(s.Closed)}
		}),
		Deltas: each(c.Deltas, func(d *ownership.Delta) *peerv1.Delta {
			return &peerv1.Delta{
				Partition: uint32(d.Partition), Number: d.Number, Changes: changesToProto(&d.Changes), Mark: l.position(d.Mark),
			}
		}),
		Acks: each(c.Acks, func(a *ownership.Ack) *peerv1.Ack {
			return &peerv1.Ack{Partition: uint32(a.Partition), At: l.position(a.At), Gap: a.Gap}
		}),
	}
	m.Lives, m.Patient = livesToProto(l.list), c.Patient
	return m
}

// decodeCopying is the inverse of appendCopying. The changes and states of the result are parts
// of b.
func decodeCopying(b []byte) (*ownership.Copying, error) { return new(copyings).decode(b) }

// copyingOf is what decodeCopying decodes.
func copyingOf(m *peerv1.Copying) (*ownership.Copying, error) {
	r := &reading{lives: livesOf(m.GetLives())}
	c := &ownership.Copying{
		Stamp: limiter.Instant(m.GetStamp()), Patient: m.GetPatient(),
		Snapshots: each(m.GetSnapshots(), func(s **peerv1.Snapshot) ownership.Snapshot {
			return ownership.Snapshot{
				Partition: r.partition((*s).GetPartition()), At: r.position((*s).GetAt()),
				Past: r.positions((*s).GetPast()), State: (*s).GetState(), Closed: time.Duration((*s).GetClosed()),
			}
		}),
		Deltas: each(m.GetDeltas(), func(d **peerv1.Delta) ownership.Delta {
			return ownership.Delta{
				Partition: r.partition((*d).GetPartition()), Number: (*d).GetNumber(),
				Changes: changesOf((*d).GetChanges()), Mark: r.position((*d).GetMark()),
			}
		}),
		Acks: each(m.GetAcks(), func(a **peerv1.Ack) ownership.Ack {
			return ownership.Ack{Partition: r.partition((*a).GetPartition()), At: r.position((*a).GetAt()), Gap: (*a).GetGap()}
		}),
	}
	if r.err != nil {
		return nil, fmt.Errorf("copying: %w", r.err)
	}
	return c, nil
}

// What is encoded by hand is what protobuf encodes, byte by byte.
func TestCopyingsAreEncodedAsProtobufDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.Make[ownership.Copying]().Draw(t, "copying")
		settle(reflect.ValueOf(&c))
		got, err := appendCopying(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(copyingToProto(&c))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v\nis encoded as %x\nby protobuf as %x", c, got, want)
		}
	})
}

// A zero position in a snapshot's past has a life too, which was once written nowhere.
func TestEmptyPastIsEncodedWithItsLife(t *testing.T) {
	c := &ownership.Copying{Snapshots: []ownership.Snapshot{{Past: make([]ownership.Position, 1)}}}
	b, err := appendCopying(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeCopying(b)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%+v came back as %+v: %v", c, back, err)
	}
}

// Whatever can be read is written and read again as the same, also after another, and what
// protobuf writes means the same to both.
func FuzzCopying(f *testing.F) {
	golden, err := appendCopying(nil, goldenCopying())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCopying(b); err == nil {
			again, err := appendCopying(nil, c)
			var s copyings
			if _, err := s.decode(golden); err != nil {
				t.Fatal(err)
			}
			second, readErr := s.decode(b)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if b, _ := appendCopying(nil, second); !bytes.Equal(b, again) {
				t.Fatalf("%+v\nread after another is\n%+v", c, second)
			}
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decodeCopying(again); err != nil || !reflect.DeepEqual(back, c) {
				t.Fatalf("%v\n%+v\nbecame\n%+v", err, c, back)
			}
		}
		m := new(peerv1.Copying)
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m) != nil {
			return
		}
		written, err := proto.Marshal(m)
		if err != nil {
			return
		}
		c, err := decodeCopying(written)
		want, wantErr := copyingOf(m)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v; by protobuf %v", err, wantErr)
		}
		if err != nil {
			return
		}
		tidy(want)
		tidy(c)
		if !reflect.DeepEqual(c, want) {
			t.Fatalf("%x is read as\n%+v\nby protobuf as\n%+v", b, c, want)
		}
	})
}

// tidy makes no difference between no bytes and none.
func tidy(c *ownership.Copying) {
	for i := range c.Snapshots {
		if len(c.Snapshots[i].State) == 0 {
			c.Snapshots[i].State = nil
		}
	}
	for i := range c.Deltas {
		if len(c.Deltas[i].Changes.Bytes) == 0 {
			c.Deltas[i].Changes.Bytes = nil
		}
	}
}

// BenchmarkCopying encodes and decodes what 200 hits in as many partitions are, and their
// acknowledgements.
func BenchmarkCopying(b *testing.B) {
	c := new(ownership.Copying)
	for i := range 200 {
		c.Deltas = append(c.Deltas, ownership.Delta{
			Partition: limiter.PartitionID(i), Number: 3,
			Changes: limiter.Changes{First: uint64(1000 + i), Last: uint64(1000 + i), Since: 1 << 40, Bytes: make([]byte, 32)},
		})
		c.Acks = append(c.Acks, ownership.Ack{Partition: limiter.PartitionID(i), At: ownership.Position{Gen: gen(), Seq: uint64(i)}})
	}
	b.ReportAllocs()
	for b.Loop() {
		wire, err := appendCopying(nil, c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decodeCopying(wire); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/hit")
}
