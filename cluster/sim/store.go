package sim

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/overten/sluice/limiter"
)

// store keeps the state of a node's partitions in the simplest way there is: every hit by
// its number, so that one that is lost or counted twice can be named.
type store struct {
	parts []storePart
	wake  func()
	woken bool
}

type storePart struct {
	permit    limiter.Instant
	recording bool
	seq       uint64
	open      limiter.Changes
	hits      []hit
	doubt     limiter.Exactness
	since     limiter.Instant
}

// hit is one unit that was admitted.
type hit struct {
	uid uint64
	key uint8
	at  limiter.Instant
}

func newStore(partitions int, wake func()) *store {
	return &store{parts: make([]storePart, partitions), wake: wake}
}

// check admits a unit for a key if fewer than limit were in the window. decided is false if
// the partition is not permitted.
func (s *store) check(p limiter.PartitionID, key uint8, uid uint64, limit int, window time.Duration, now limiter.Instant) (allowed, decided bool, used int) {
	sp := &s.parts[p]
	if now >= sp.permit {
		return false, false, 0
	}
	sp.expire(window, now)
	for _, h := range sp.hits {
		if h.key == key && h.at.Add(window) > now {
			used++
		}
	}
	if used >= limit {
		return false, true, used
	}
	s.admit(sp, hit{uid, key, now}, now)
	return true, true, used
}

func (s *store) admit(sp *storePart, h hit, now limiter.Instant) {
	sp.hits = append(sp.hits, h)
	if !sp.recording {
		return
	}
	sp.seq++
	if sp.open.Last == 0 {
		sp.open.First, sp.open.Since = sp.seq, now
	}
	sp.open.Last = sp.seq
	sp.open.Bytes = appendHit(sp.open.Bytes, h)
	if !s.woken {
		s.woken = true
		s.wake()
	}
}

func (sp *storePart) expire(window time.Duration, now limiter.Instant) {
	n := 0
	for _, h := range sp.hits {
		if h.at.Add(2*window) > now {
			sp.hits[n] = h
			n++
		}
	}
	sp.hits = sp.hits[:n]
}

const hitSize = 17

func appendHit(b []byte, h hit) []byte {
	b = binary.BigEndian.AppendUint64(b, h.uid)
	b = append(b, h.key)
	return binary.BigEndian.AppendUint64(b, uint64(h.at))
}

func readHit(b []byte, shift time.Duration) hit {
	return hit{binary.BigEndian.Uint64(b), b[8], limiter.Instant(binary.BigEndian.Uint64(b[9:])).Add(shift)}
}

var errTorn = errors.New("torn changes")

// The rest is what the machine asks of a store; see limiter.Table.

func (s *store) Permit(p limiter.PartitionID, until limiter.Instant) uint64 {
	s.parts[p].permit = until
	return s.parts[p].seq
}

func (s *store) Record(p limiter.PartitionID, on bool) {
	sp := &s.parts[p]
	sp.recording, sp.seq, sp.open = on, 0, limiter.Changes{}
}

func (s *store) Take(p limiter.PartitionID) limiter.Changes {
	c := s.parts[p].open
	s.parts[p].open = limiter.Changes{}
	return c
}

func (s *store) Dirty(dst []limiter.PartitionID) []limiter.PartitionID {
	s.woken = false
	for i := range s.parts {
		if s.parts[i].open.Last > 0 {
			dst = append(dst, limiter.PartitionID(i))
		}
	}
	return dst
}

func (s *store) Snapshot(dst []byte, p limiter.PartitionID, since limiter.Instant) ([]byte, uint64) {
	sp := &s.parts[p]
	dst = append(dst, byte(sp.doubt))
	dst = binary.BigEndian.AppendUint64(dst, uint64(sp.since))
	for _, h := range sp.hits {
		if h.at > since || since == 0 {
			dst = appendHit(dst, h)
		}
	}
	return dst, sp.seq
}

func (s *store) Install(p limiter.PartitionID, snapshot []byte, shift time.Duration, _ limiter.Instant) error {
	if len(snapshot)%hitSize != 9 {
		return errTorn
	}
	sp := &s.parts[p]
	sp.hits = sp.hits[:0]
	sp.doubt, sp.since = limiter.Exactness(snapshot[0]), limiter.Instant(binary.BigEndian.Uint64(snapshot[1:])).Add(shift)
	for b := snapshot[9:]; len(b) > 0; b = b[hitSize:] {
		sp.hits = append(sp.hits, readHit(b, shift))
	}
	return nil
}

func (s *store) ApplyFrom(p limiter.PartitionID, changes []byte, from, first uint64, shift time.Duration, _ limiter.Instant) error {
	if len(changes)%hitSize != 0 {
		return errTorn
	}
	sp := &s.parts[p]
	for b := changes; len(b) > 0; b = b[hitSize:] {
		if from >= first {
			sp.hits = append(sp.hits, readHit(b, shift))
		}
		from++
	}
	return nil
}

func (s *store) Merge(p limiter.PartitionID, state []byte, from, first uint64, shift time.Duration, now limiter.Instant) error {
	if len(state)%hitSize == 9 {
		state = state[9:]
	}
	sp := &s.parts[p]
	for b := state; len(b) > 0; b = b[hitSize:] {
		if from >= first {
			s.admit(sp, readHit(b, shift), now)
		}
		from++
	}
	return nil
}

func (s *store) Clear(p limiter.PartitionID) {
	sp := &s.parts[p]
	sp.hits, sp.doubt, sp.since = nil, 0, 0
}

func (s *store) Doubt(p limiter.PartitionID, e limiter.Exactness, since limiter.Instant, _ bool) {
	s.parts[p].doubt, s.parts[p].since = e, since
}

func (s *store) Prolong(limiter.PartitionID, time.Duration) {}
