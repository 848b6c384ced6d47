package limiter

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Snapshot appends the state of p, encoded, and returns it with the sequence of the last
// change that is in it. Changes that were recorded but not taken are part of it: the
// taker knows by their sequence. With since > 0 it has, of the units, only those admitted
// after that instant (a quantum that they share with earlier ones included), and of the
// rest everything all the same.
func (t *Table) Snapshot(dst []byte, p PartitionID, since Instant) ([]byte, uint64) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	return part.append(dst, part.clock, since), part.lastChange()
}

// append encodes the state as seen at base.
func (s *state) append(b []byte, base, since Instant) []byte {
	b = append(b, formatSnapshot)
	b = binary.AppendUvarint(b, uint64(base))
	b = binary.AppendUvarint(b, uint64(s.largest))
	if s.doubts != nil {
		for _, d := range s.doubts {
			if d.exactness != 0 {
				b = d.append(append(b, 1), base)
			}
		}
	}
	b = append(b, 0)
	var p past
	s.each(func(r *record) {
		h := s.history(r)
		h.tell(&p, since)
		set := s.sets.of(r)
		if len(p.entries) == 0 && set == nil {
			return
		}
		b = appendIdentity(append(b, 1), r.id)
		b = p.append(b, base)
		if set == nil {
			b = append(b, 0)
			return
		}
		for _, l := range set.live.ends {
			b = l.append(append(b, 1), base)
		}
		for _, l := range set.tombstones.ends {
			b = l.appendTombstone(append(b, 2), base)
		}
		b = append(b, 0)
	})
	return append(b, 0)
}

// leastKey is no more than the bytes that a key takes in a snapshot.
const leastKey = 16

// snapshot reads a state into s, which is empty. After an error s has part of it.
func (r *reader) snapshot(s *state) {
	then := min(r.ours(r.base), r.now) // what expired later its holder may have kept
	s.largest = max(s.largest, uint32(r.number(0, MaxLimit, "largest limit")))
	for r.bool() {
		if d := r.doubt(); r.err == nil {
			s.raise(d)
		}
	}
	var p past
	for r.bool() {
		id := r.identity()
		r.past(&p)
		if r.err == nil && s.records.find(id) != nil {
			r.fail("key %v is there twice", id)
		}
		if r.err != nil {
			return
		}
		rec := s.records.insertNext(id, s.records.n+1+uint32(len(r.b)/leastKey))
		h := s.history(rec)
		h.rebuild(&p)
		h.dropFront(h.firstLive(int64(h.horizon), then))
		r.leases(s, rec)
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes follow the end", len(r.b))
	}
}

// leases reads the leases of one key.
func (r *reader) leases(s *state, rec *record) {
	for {
		kind := r.byte()
		switch {
		case kind == 0:
			return
		case kind > 2:
			r.fail("the kind of a lease is %d, must be at most 2", kind)
		case s.sets.full():
			r.fail("there are too many keys with leases")
		case kind == 1:
			if l := r.lease(); r.err == nil {
				s.sets.give(rec).put(l)
			}
		default:
			if l := r.tombstone(); r.err == nil {
				s.sets.give(rec).bury(l)
			}
		}
	}
}

// Install replaces the state of p by a snapshot, whose instants are the sender's: shift
// is what to add to make them ours, rounded up to whole milliseconds. It asks for no room
// for its keys: state that exists must not be lost. After an error nothing has changed.
//
// Instants that shift puts before this node's origin are taken to be at it. For this to
// prolong nothing, nodes start their clocks far above the longest period.
func (t *Table) Install(p PartitionID, snapshot []byte, shift time.Duration, now Instant) error {
	r := newReader(snapshot, formatSnapshot, shift, now)
	s := t.newState()
	r.snapshot(&s)
	if r.err != nil {
		s.release()
		return fmt.Errorf("snapshot: %w", r.err)
	}
	t.replace(p, s, now)
	return nil
}

// Clear forgets all state of p and gives its memory back. Whether p is permitted and
// recorded stays as it is.
func (t *Table) Clear(p PartitionID) { t.replace(p, t.newState(), 0) }

func (t *Table) replace(p PartitionID, s state, now Instant) {
	part := &t.partitions[p]
	part.mu.Lock()
	part.advance(now)
	old := part.state
	old.records.outline = old.records.untold()
	s.records.told = part.records.told
	part.state = s
	part.records.tell()
	part.mu.Unlock()
	t.keys.Add(int64(s.records.n) - int64(old.records.n))
	old.release()
}
