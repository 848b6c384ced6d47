package peer

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// What every frame says is encoded by hand: each node tells each other ten times a second, and asks
// and answers for each partition that one holds and the other copies. With protobuf's objects that
// was a third of what nodes at rest do.

// appendFrame appends f as protobuf encodes it.
func appendFrame(b []byte, f *ownership.Frame) ([]byte, error) {
	const small = 32 // bytes of an item, mostly
	var l lives
	for i := range f.Asks {
		l.note(f.Asks[i].Parent)
	}
	for i := range f.Pledges {
		l.note(ownership.Position{Gen: f.Pledges[i].Known})
	}
	rare := l.rare(f)
	size := small * (2 + len(f.Asks) + len(f.Pledges))
	if f.Heartbeat != nil {
		size += 4 * len(f.Heartbeat.Held)
	}
	b, err := l.appendLives(appendUint(slices.Grow(b, size), 1, uint64(f.Stamp)))
	if err != nil {
		return nil, err
	}
	if f.Heartbeat != nil {
		b = appendHeartbeat(b, f.Heartbeat)
	}
	for i := range f.Asks {
		a := &f.Asks[i]
		var at int
		b, at = beginMessage(b, 4)
		b = l.append(appendUint(appendUint(b, 1, uint64(a.Partition)), 2, a.Number), 3, a.Parent)
		b = endMessage(appendBool(appendBool(b, 4, a.Handed), 5, a.Copy), at)
	}
	for i := range f.Pledges {
		p := &f.Pledges[i]
		var at int
		b, at = beginMessage(b, 5)
		b = appendUint(appendUint(appendUint(b, 1, uint64(p.Partition)), 2, uint64(p.Asked)), 3, p.Number)
		b = appendUint(appendBool(appendBool(b, 4, p.Given), 5, p.Complete), 6, p.Seq)
		b = endMessage(l.append(b, 7, ownership.Position{Gen: p.Known}), at) // without a sequence it is a generation
	}
	if rare == nil {
		return b, nil
	}
	return proto.MarshalOptions{}.MarshalAppend(b, rare)
}

func appendHeartbeat(b []byte, h *ownership.Heartbeat) []byte {
	b, at := beginMessage(b, 3)
	b = appendBool(appendBool(appendFixed(b, 1, h.View), 2, h.Young), 3, h.Draining)
	if len(h.Held) > 0 {
		var list int
		b, list = beginMessage(b, 4)
		before := int32(0)
		for i := range h.Held {
			partition := int32(h.Held[i].Partition)
			b = protowire.AppendVarint(b, uint64(uint32(protowire.EncodeZigZag(int64(partition-before)))))
			before = partition
		}
		b, list = beginMessage(endMessage(b, list), 5)
		for i := range h.Held {
			b = protowire.AppendVarint(b, h.Held[i].Number)
		}
		b = endMessage(b, list)
	}
	return endMessage(appendWaiting(b, h.Held), at)
}

// appendWaiting appends the places of those that the sender may not decide for.
func appendWaiting(b []byte, held []ownership.Held) []byte {
	first := slices.IndexFunc(held, func(h ownership.Held) bool { return !h.Permitted })
	if first < 0 {
		return b
	}
	b, list := beginMessage(b, 6)
	for i := first; i < len(held); i++ {
		if !held[i].Permitted {
			b = protowire.AppendVarint(b, uint64(i))
		}
	}
	return endMessage(b, list)
}

// frames decodes one frame after the other. Heartbeat, asks and pledges are in the memory of those
// of the frame before; what is there now and then has its own. Nothing is in that of the bytes.
type frames struct {
	f         ownership.Frame
	heartbeat ownership.Heartbeat
	r         reading

	at               int64    // the last partition of the heartbeat that was read
	numbers, waiting []uint64 // of the heartbeat
	rare             []byte   // the fields that protobuf decodes
}

// decode decodes the next frame, of which heartbeat, asks and pledges are gone with the one after.
func (s *frames) decode(b []byte) (*ownership.Frame, error) {
	s.f = ownership.Frame{Asks: s.f.Asks[:0], Pledges: s.f.Pledges[:0]}
	s.r = reading{lives: s.r.lives[:0]}
	s.heartbeat = ownership.Heartbeat{Held: s.heartbeat.Held[:0]}
	s.at, s.numbers, s.waiting = 0, s.numbers[:0], s.waiting[:0]
	if cap(s.rare) > pieceBytes {
		s.rare = nil // the remainders of a split, which do not come again
	}
	s.rare = s.rare[:0]
	err := errors.Join(s.r.readLives(b), s.readItems(b), s.number())
	if err == nil && len(s.rare) > 0 {
		m := new(peerv1.Frame)
		if err = proto.Unmarshal(s.rare, m); err == nil {
			s.r.rare(m, &s.f)
		}
	}
	if err = errors.Join(err, s.r.err); err != nil {
		return nil, fmt.Errorf("frame: %w", err)
	}
	return &s.f, nil
}

func (s *frames) readItems(b []byte) error {
	f := &s.f
	for len(b) > 0 {
		item, rest, err := nextField(b)
		field := b[:len(b)-len(rest)]
		b = rest
		switch {
		case err != nil:
		case item.num == 1 && item.bytes == nil:
			f.Stamp = limiter.Instant(item.value)
		case item.num > 5:
			s.rare = append(s.rare, field...)
		case item.bytes == nil:
		case item.num == 3:
			err = s.readHeartbeat(item.bytes)
		case item.num == 4:
			f.Asks = append(f.Asks, ownership.Ask{})
			err = s.r.ask(item.bytes, &f.Asks[len(f.Asks)-1])
		case item.num == 5:
			f.Pledges = append(f.Pledges, ownership.Pledge{})
			err = s.r.pledge(item.bytes, &f.Pledges[len(f.Pledges)-1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readHeartbeat reads a heartbeat, but for what number adds. One that comes in pieces is put together.
func (s *frames) readHeartbeat(b []byte) error {
	h := &s.heartbeat
	s.f.Heartbeat = h
	held := func(step uint64) {
		s.at += int64(int32(protowire.DecodeZigZag(step & math.MaxUint32)))
		h.Held = append(h.Held, ownership.Held{Partition: s.r.partition(uint32(max(s.at, -1))), Permitted: true})
	}
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 4:
			err = eachNumber(f, held)
		case f.num == 5:
			err = eachNumber(f, func(v uint64) { s.numbers = append(s.numbers, v) })
		case f.num == 6:
			err = eachNumber(f, func(v uint64) { s.waiting = append(s.waiting, v) })
		case f.bytes != nil:
		case f.num == 1:
			h.View = f.value
		case f.num == 2:
			h.Young = f.value != 0
		case f.num == 3:
			h.Draining = f.value != 0
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// number gives each partition of the heartbeat its number, and says which are not permitted.
func (s *frames) number() error {
	h := &s.heartbeat
	if len(s.numbers) != len(h.Held) {
		return errors.New("heartbeat.numbers: are not as many as held")
	}
	for i, number := range s.numbers {
		h.Held[i].Number = number
	}
	for _, i := range s.waiting {
		if i >= uint64(len(h.Held)) {
			return errors.New("heartbeat.waiting: is beyond held")
		}
		h.Held[i].Permitted = false
	}
	return nil
}

// eachNumber calls do for each number of a field that may have many: those that are packed, or one.
func eachNumber(f field, do func(uint64)) error {
	if f.bytes == nil {
		do(f.value)
		return nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errGarbage
		}
		do(v)
		b = b[n:]
	}
	return nil
}

func (r *reading) ask(b []byte, a *ownership.Ask) error {
	partition, b := usualUint(b, 1)
	a.Number, b = usualUint(b, 2)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 3 && f.bytes != nil:
			err = r.place(f.bytes, &a.Parent)
		case f.bytes != nil:
		case f.num == 1:
			partition = f.value
		case f.num == 2:
			a.Number = f.value
		case f.num == 4:
			a.Handed = f.value != 0
		case f.num == 5:
			a.Copy = f.value != 0
		}
		if err != nil {
			return err
		}
	}
	a.Partition = r.partition(uint32(partition))
	return nil
}

func (r *reading) pledge(b []byte, p *ownership.Pledge) error {
	partition, b := usualUint(b, 1)
	asked, b := usualUint(b, 2)
	p.Number, b = usualUint(b, 3)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 7 && f.bytes != nil:
			var known ownership.Position // of which a generation has no sequence
			err = r.place(f.bytes, &known)
			p.Known = known.Gen
		case f.bytes != nil:
		case f.num == 1:
			partition = f.value
		case f.num == 2:
			asked = f.value
		case f.num == 3:
			p.Number = f.value
		case f.num == 4:
			p.Given = f.value != 0
		case f.num == 5:
			p.Complete = f.value != 0
		case f.num == 6:
			p.Seq = f.value
		}
		if err != nil {
			return err
		}
	}
	p.Partition, p.Asked = r.partition(uint32(partition)), limiter.Instant(asked)
	return nil
}
