package peer

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// Copyings are encoded by hand: under load there is one for each hit or two, and protobuf's
// objects would cost more than applying the hits.

// encodeCopying encodes c as protobuf does.
func encodeCopying(c *ownership.Copying) ([]byte, error) {
	const small = 48 // bytes of an item, mostly
	size := small
	var l lives
	for i := range c.Snapshots {
		s := &c.Snapshots[i]
		l.note(s.At)
		for _, p := range s.Past {
			l.of(p.Gen) // also of one that is zero: appendSnapshot writes all
		}
		size += snapshotBytes(s)
	}
	for i := range c.Deltas {
		l.note(c.Deltas[i].Mark)
		size += small + len(c.Deltas[i].Changes.Bytes)
	}
	for i := range c.Acks {
		l.note(c.Acks[i].At)
		size += small
	}
	b := appendUint(make([]byte, 0, size), 1, uint64(c.Stamp))
	for _, life := range l.list {
		if !utf8.ValidString(life.Name) {
			return nil, errName
		}
		var at int
		b, at = beginMessage(b, 2)
		b = endMessage(appendFixed(appendString(b, 1, life.Name), 2, life.Boot), at)
	}
	for i := range c.Snapshots {
		b = appendSnapshot(b, &c.Snapshots[i], &l)
	}
	for i := range c.Deltas {
		d := &c.Deltas[i]
		var at int
		b, at = beginMessage(b, 4)
		b = appendUint(appendUint(b, 1, uint64(d.Partition)), 2, d.Number)
		b = appendChanges(b, 3, &d.Changes)
		b = endMessage(l.append(b, 4, d.Mark), at)
	}
	for i := range c.Acks {
		a := &c.Acks[i]
		var at int
		b, at = beginMessage(b, 5)
		b = l.append(appendUint(b, 1, uint64(a.Partition)), 2, a.At)
		b = endMessage(appendBool(b, 3, a.Gap), at)
	}
	return b, nil
}

var errName = errors.New("the name of a life is not UTF-8")

func appendSnapshot(b []byte, s *ownership.Snapshot, l *lives) []byte {
	b, at := beginMessage(b, 3)
	b = l.append(appendUint(b, 1, uint64(s.Partition)), 2, s.At)
	for _, p := range s.Past {
		b = l.appendAny(b, 3, p)
	}
	if len(s.State) > 0 {
		b = appendBytes(b, 4, s.State)
	}
	return endMessage(appendUint(b, 5, uint64(s.Closed)), at)
}

func appendChanges(b []byte, num protowire.Number, c *limiter.Changes) []byte {
	b, at := beginMessage(b, num)
	b = appendUint(appendUint(appendUint(b, 1, c.First), 2, c.Last), 3, uint64(c.Since))
	if len(c.Bytes) > 0 {
		b = appendBytes(b, 4, c.Bytes)
	}
	return endMessage(b, at)
}

// note gives the life of p a number.
func (l *lives) note(p ownership.Position) {
	if p != (ownership.Position{}) {
		l.of(p.Gen)
	}
}

// append appends a position, unless it is zero.
func (l *lives) append(b []byte, num protowire.Number, p ownership.Position) []byte {
	if p == (ownership.Position{}) {
		return b
	}
	return l.appendAny(b, num, p)
}

func (l *lives) appendAny(b []byte, num protowire.Number, p ownership.Position) []byte {
	b, at := beginMessage(b, num)
	b = appendUint(appendUint(b, 1, p.Gen.Number), 2, uint64(l.of(p.Gen)))
	return endMessage(appendUint(b, 3, p.Seq), at)
}

// decodeCopying is the inverse of encodeCopying. The changes and states of the result are parts
// of b.
func decodeCopying(b []byte) (*ownership.Copying, error) {
	c := new(ownership.Copying)
	r := new(reading)
	var snapshots, deltas, acks int
	err := fields(b, func(num protowire.Number, _ uint64, bytes []byte) error {
		switch {
		case bytes == nil:
		case num == 2:
			return r.readLife(bytes)
		case num == 3:
			snapshots++
		case num == 4:
			deltas++
		case num == 5:
			acks++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("copying: %w", err)
	}
	c.Snapshots, c.Deltas, c.Acks = sized[ownership.Snapshot](snapshots), sized[ownership.Delta](deltas), sized[ownership.Ack](acks)
	err = fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 1 && bytes == nil:
			c.Stamp = limiter.Instant(value)
		case bytes == nil:
		case num == 3:
			c.Snapshots = append(c.Snapshots, ownership.Snapshot{})
			return r.snapshot(bytes, &c.Snapshots[len(c.Snapshots)-1])
		case num == 4:
			c.Deltas = append(c.Deltas, ownership.Delta{})
			return r.delta(bytes, &c.Deltas[len(c.Deltas)-1])
		case num == 5:
			c.Acks = append(c.Acks, ownership.Ack{})
			return r.ack(bytes, &c.Acks[len(c.Acks)-1])
		}
		return nil
	})
	if err = errors.Join(err, r.err); err != nil {
		return nil, fmt.Errorf("copying: %w", err)
	}
	return c, nil
}

// sized returns an empty slice with room for n items; nil for none.
func sized[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, 0, n)
}

func (r *reading) readLife(b []byte) error {
	l := new(peerv1.Life)
	r.lives = append(r.lives, l)
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 1 && bytes != nil:
			if !utf8.Valid(bytes) {
				return errName
			}
			l.Name = string(bytes)
		case num == 2 && bytes == nil:
			l.Boot = value
		}
		return nil
	})
}

func (r *reading) snapshot(b []byte, s *ownership.Snapshot) error {
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 1 && bytes == nil:
			s.Partition = r.partition(uint32(value))
		case num == 2 && bytes != nil:
			return r.place(bytes, &s.At)
		case num == 3 && bytes != nil:
			s.Past = append(s.Past, ownership.Position{})
			return r.place(bytes, &s.Past[len(s.Past)-1])
		case num == 4 && len(bytes) > 0:
			s.State = bytes
		case num == 5 && bytes == nil:
			s.Closed = time.Duration(value)
		}
		return nil
	})
}

func (r *reading) delta(b []byte, d *ownership.Delta) error {
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 1 && bytes == nil:
			d.Partition = r.partition(uint32(value))
		case num == 2 && bytes == nil:
			d.Number = value
		case num == 3 && bytes != nil:
			return readChanges(bytes, &d.Changes)
		case num == 4 && bytes != nil:
			return r.place(bytes, &d.Mark)
		}
		return nil
	})
}

func (r *reading) ack(b []byte, a *ownership.Ack) error {
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 1 && bytes == nil:
			a.Partition = r.partition(uint32(value))
		case num == 2 && bytes != nil:
			return r.place(bytes, &a.At)
		case num == 3 && bytes == nil:
			a.Gap = value != 0
		}
		return nil
	})
}

// place reads a position.
func (r *reading) place(b []byte, p *ownership.Position) error {
	var number, life uint64
	err := fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case bytes != nil:
		case num == 1:
			number = value
		case num == 2:
			life = value
		case num == 3:
			p.Seq = value
		}
		return nil
	})
	p.Gen = r.life(number, uint32(min(life, math.MaxUint32)))
	return err
}

func readChanges(b []byte, c *limiter.Changes) error {
	return fields(b, func(num protowire.Number, value uint64, bytes []byte) error {
		switch {
		case num == 4 && len(bytes) > 0:
			c.Bytes = bytes
		case bytes != nil:
		case num == 1:
			c.First = value
		case num == 2:
			c.Last = value
		case num == 3:
			c.Since = limiter.Instant(value)
		}
		return nil
	})
}
