package peer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// Copyings are encoded by hand: under load there is one for each hit or two, and protobuf's
// objects would cost more than applying the hits.

// appendCopying appends c as protobuf encodes it.
func appendCopying(b []byte, c *ownership.Copying) ([]byte, error) {
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
	b, err := l.appendLives(appendUint(slices.Grow(b, size), 1, uint64(c.Stamp)))
	if err != nil {
		return nil, err
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
	return appendBool(b, 6, c.Patient), nil
}

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

// copyings decodes one copying after the other, into the memory of the one before: under load
// they are most of what a node has to allocate.
type copyings struct {
	c ownership.Copying
	r reading
}

// decode decodes the next copying, which is gone with the one after.
func (s *copyings) decode(b []byte) (*ownership.Copying, error) {
	s.forget()
	err := errors.Join(s.r.readLives(b), s.readItems(b))
	if err = errors.Join(err, s.r.err); err != nil {
		return nil, fmt.Errorf("copying: %w", err)
	}
	return &s.c, nil
}

// forget lets go of what the last copying was part of.
func (s *copyings) forget() {
	c := &s.c
	clear(c.Snapshots)
	clear(c.Deltas)
	clear(c.Acks)
	*c = ownership.Copying{Snapshots: c.Snapshots[:0], Deltas: c.Deltas[:0], Acks: c.Acks[:0]}
	s.r = reading{lives: s.r.lives[:0]}
}

func (s *copyings) readItems(b []byte) error {
	c, r := &s.c, &s.r
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 1 && f.bytes == nil:
			c.Stamp = limiter.Instant(f.value)
		case f.num == 6 && f.bytes == nil:
			c.Patient = f.value != 0
		case f.bytes == nil:
		case f.num == 3:
			c.Snapshots = append(c.Snapshots, ownership.Snapshot{})
			err = r.snapshot(f.bytes, &c.Snapshots[len(c.Snapshots)-1])
		case f.num == 4:
			c.Deltas = append(c.Deltas, ownership.Delta{})
			err = r.delta(f.bytes, &c.Deltas[len(c.Deltas)-1])
		case f.num == 5:
			c.Acks = append(c.Acks, ownership.Ack{})
			err = r.ack(f.bytes, &c.Acks[len(c.Acks)-1])
		}
		if err != nil {
			return err
		}
	}
	return nil
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
	partition, b := usualUint(b, 1)
	d.Partition = r.partition(uint32(partition))
	d.Number, b = usualUint(b, 2)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 1 && f.bytes == nil:
			d.Partition = r.partition(uint32(f.value))
		case f.num == 2 && f.bytes == nil:
			d.Number = f.value
		case f.num == 3 && f.bytes != nil:
			err = readChanges(f.bytes, &d.Changes)
		case f.num == 4 && f.bytes != nil:
			err = r.place(f.bytes, &d.Mark)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) ack(b []byte, a *ownership.Ack) error {
	partition, b := usualUint(b, 1)
	a.Partition = r.partition(uint32(partition))
	for len(b) > 0 {
		f, rest, err := nextField(b)
		b = rest
		switch {
		case err != nil:
		case f.num == 1 && f.bytes == nil:
			a.Partition = r.partition(uint32(f.value))
		case f.num == 2 && f.bytes != nil:
			err = r.place(f.bytes, &a.At)
		case f.num == 3 && f.bytes == nil:
			a.Gap = f.value != 0
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readChanges(b []byte, c *limiter.Changes) error {
	c.First, b = usualUint(b, 1)
	c.Last, b = usualUint(b, 2)
	since, b := usualUint(b, 3)
	c.Since = limiter.Instant(since)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		switch {
		case f.num == 4 && len(f.bytes) > 0:
			c.Bytes = f.bytes
		case f.bytes != nil:
		case f.num == 1:
			c.First = f.value
		case f.num == 2:
			c.Last = f.value
		case f.num == 3:
			c.Since = limiter.Instant(f.value)
		}
	}
	return nil
}
