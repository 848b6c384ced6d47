package peer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// frameToProto is what appendFrame encodes.
func frameToProto(f *ownership.Frame) *peerv1.Frame {
	l := new(lives)
	m := &peerv1.Frame{
		Stamp: int64(f.Stamp),
		Asks: each(f.Asks, func(a *ownership.Ask) *peerv1.Ask {
			return &peerv1.Ask{
				Partition: uint32(a.Partition), Number: a.Number, Parent: l.position(a.Parent), Handed: a.Handed, Copy: a.Copy,
			}
		}),
		Pledges: each(f.Pledges, func(p *ownership.Pledge) *peerv1.Pledge {
			return &peerv1.Pledge{
				Partition: uint32(p.Partition), AskedAt: int64(p.Asked), Number: p.Number, Given: p.Given,
				Complete: p.Complete, Sequence: p.Seq, Known: l.generation(p.Known),
			}
		}),
	}
	if rare := l.rare(f); rare != nil {
		proto.Merge(m, rare)
	}
	if h := f.Heartbeat; h != nil {
		m.Heartbeat = &peerv1.Heartbeat{View: h.View, Young: h.Young, Draining: h.Draining}
		before := int32(0)
		for i, held := range h.Held {
			m.Heartbeat.Held = append(m.Heartbeat.Held, int32(held.Partition)-before)
			m.Heartbeat.Numbers = append(m.Heartbeat.Numbers, held.Number)
			if before = int32(held.Partition); !held.Permitted {
				m.Heartbeat.Waiting = append(m.Heartbeat.Waiting, uint32(i))
			}
		}
	}
	m.Lives = livesToProto(l.list)
	return m
}

// decodeFrame is the inverse of appendFrame.
func decodeFrame(b []byte) (*ownership.Frame, error) { return new(frames).decode(b) }

// frameOf is what decodeFrame decodes.
func frameOf(m *peerv1.Frame) (*ownership.Frame, error) {
	r := &reading{lives: livesOf(m.GetLives())}
	f := &ownership.Frame{
		Stamp: limiter.Instant(m.GetStamp()),
		Asks: each(m.GetAsks(), func(a **peerv1.Ask) ownership.Ask {
			return ownership.Ask{
				Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber(), Parent: r.position((*a).GetParent()),
				Handed: (*a).GetHanded(), Copy: (*a).GetCopy(),
			}
		}),
		Pledges: each(m.GetPledges(), func(p **peerv1.Pledge) ownership.Pledge {
			return ownership.Pledge{
				Partition: r.partition((*p).GetPartition()), Asked: limiter.Instant((*p).GetAskedAt()), Number: (*p).GetNumber(),
				Given: (*p).GetGiven(), Complete: (*p).GetComplete(), Seq: (*p).GetSequence(), Known: r.generation((*p).GetKnown()),
			}
		}),
	}
	r.rare(m, f)
	if h := m.GetHeartbeat(); h != nil {
		f.Heartbeat = &ownership.Heartbeat{View: h.GetView(), Young: h.GetYoung(), Draining: h.GetDraining()}
		at := int64(0)
		for i, step := range h.GetHeld() {
			if at += int64(step); at < 0 || at > math.MaxUint16 || len(h.GetHeld()) != len(h.GetNumbers()) {
				return nil, errPartition
			}
			f.Heartbeat.Held = append(f.Heartbeat.Held, ownership.Held{Partition: limiter.PartitionID(at), Number: h.GetNumbers()[i], Permitted: true})
		}
		for _, i := range h.GetWaiting() {
			if int64(i) >= int64(len(f.Heartbeat.Held)) {
				return nil, errors.New("waiting is beyond held")
			}
			f.Heartbeat.Held[i].Permitted = false
		}
		if len(h.GetHeld()) != len(h.GetNumbers()) {
			return nil, errors.New("numbers are not as many as held")
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("frame: %w", r.err)
	}
	return f, nil
}

// What is encoded by hand is what protobuf encodes, byte by byte.
func TestFramesAreEncodedAsProtobufDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Make[ownership.Frame]().Draw(t, "frame")
		settle(reflect.ValueOf(&f))
		got, err := appendFrame(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(frameToProto(&f))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v\nis encoded as %x\nby protobuf as %x", f, got, want)
		}
	})
}

// A name that is not UTF-8 would be refused by whoever reads it.
func TestNamesOfLivesAreUTF8(t *testing.T) {
	bad := ownership.Generation{Number: 1, Name: "\xff", Boot: 2}
	f := &ownership.Frame{Pledges: []ownership.Pledge{{Known: bad}}}
	if _, err := appendFrame(nil, f); !errors.Is(err, errName) {
		t.Errorf("written: %v", err)
	}
	good, err := appendFrame(nil, &ownership.Frame{Pledges: []ownership.Pledge{{Known: gen()}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeFrame(bytes.Replace(good, []byte("n1"), []byte("n\xff"), 1)); !errors.Is(err, errName) {
		t.Errorf("read: %v", err)
	}
}

// Numbers of a heartbeat are packed, but may come one by one, fields in any order, and the whole in
// pieces: of two the second once took the place of the first.
func TestHeartbeatsAreReadInAnyForm(t *testing.T) {
	zigzag := func(step int64) uint64 { return uint64(step<<1) ^ uint64(step>>63) }
	heartbeat := appendUint(appendUint(nil, 6, 1), 5, 7)
	heartbeat = appendUint(heartbeat, 4, zigzag(300))
	heartbeat = appendBytes(heartbeat, 4, []byte{byte(zigzag(-10))})
	heartbeat = appendFixed(appendBytes(heartbeat, 5, []byte{9}), 1, 5)
	f, err := decodeFrame(appendUint(appendBytes(nil, 3, heartbeat), 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	want := &ownership.Heartbeat{View: 5, Held: []ownership.Held{{Partition: 300, Number: 7, Permitted: true}, {Partition: 290, Number: 9}}}
	if f.Stamp != 2 || !reflect.DeepEqual(f.Heartbeat, want) {
		t.Errorf("%+v, want %+v", f.Heartbeat, want)
	}

	pieces := appendBytes(appendBytes(nil, 3, heartbeat), 3, appendUint(appendUint(appendBool(nil, 2, true), 4, zigzag(5)), 5, 8))
	m := new(peerv1.Frame)
	if err := proto.Unmarshal(pieces, m); err != nil {
		t.Fatal(err)
	}
	whole, err := frameOf(m)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = decodeFrame(pieces); err != nil || !reflect.DeepEqual(f, whole) || len(f.Heartbeat.Held) != 3 || !f.Heartbeat.Young {
		t.Errorf("in pieces: %+v, want %+v (%v)", f.Heartbeat, whole.Heartbeat, err)
	}
}

// A frame that was sent is empty when its memory serves another, whatever it said.
func TestSentFramesComeBackEmpty(t *testing.T) {
	f := goldenFrame()
	f.Reset()
	if b, err := appendFrame(nil, f); err != nil || len(b) > 0 {
		t.Errorf("%+v is encoded as %x, %v", f, b, err)
	}
	if cap(f.Asks) == 0 || cap(f.Pledges) == 0 {
		t.Error("the memory is gone")
	}
}

// Whatever can be read is written and read again as the same, also after another, and what
// protobuf writes means the same to both.
func FuzzFrame(f *testing.F) {
	golden, err := appendFrame(nil, goldenFrame())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		if frame, err := decodeFrame(b); err == nil {
			again, err := appendFrame(nil, frame)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decodeFrame(again); err != nil || !reflect.DeepEqual(back, frame) {
				t.Fatalf("%v\n%+v\nbecame\n%+v", err, frame, back)
			}
			var s frames
			if _, err := s.decode(golden); err != nil {
				t.Fatal(err)
			}
			second, err := s.decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := appendFrame(nil, second); !bytes.Equal(b, again) {
				t.Fatalf("%+v\nread after another is\n%+v", frame, second)
			}
		}
		m := new(peerv1.Frame)
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m) != nil {
			return
		}
		written, err := proto.Marshal(m)
		if err != nil {
			return
		}
		got, err := decodeFrame(written)
		want, wantErr := frameOf(m)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v; by protobuf %v", err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%x is read as\n%+v\nby protobuf as\n%+v", b, got, want)
		}
	})
}

// BenchmarkFrame encodes and decodes what a node that holds 340 partitions tells one of two others.
func BenchmarkFrame(b *testing.B) {
	f := &ownership.Frame{Stamp: 1 << 40, Heartbeat: &ownership.Heartbeat{View: 1 << 60}}
	parent := ownership.Position{Gen: gen(), Seq: 1000}
	for i := range limiter.PartitionID(340) {
		f.Heartbeat.Held = append(f.Heartbeat.Held, ownership.Held{Partition: 3 * i, Number: 4, Permitted: true})
		if i%2 == 0 {
			f.Asks = append(f.Asks, ownership.Ask{Partition: 3 * i, Number: 4, Parent: parent, Copy: true})
			f.Pledges = append(f.Pledges, ownership.Pledge{Partition: 3*i + 1, Asked: 1 << 40, Number: 4, Given: true, Complete: true, Seq: 1000, Known: gen()})
		}
	}
	var s frames
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if wire, err = appendFrame(wire[:0], f); err != nil {
			b.Fatal(err)
		}
		if _, err := s.decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}
