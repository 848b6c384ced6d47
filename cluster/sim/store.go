package sim

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// What every key may have.
const (
	limit    = 20 // units in a window
	window   = 2 * time.Second
	runLimit = 3 // leases
	maxTTL   = 2500 * time.Millisecond
)

// maxBehind is for how long a change may wait to be taken before calls wait.
const maxBehind = 10 * time.Millisecond

// store is what a node keeps its state in and decides by.
type store interface {
	ownership.Store
	// check admits a unit, or not.
	check(k key, uid uint64, now limiter.Instant) verdict
	// acquire grants a run a lease with that nonce, or tells it the nonce that it has.
	acquire(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict
	renew(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict
	release(k key, run, nonce uint64, now limiter.Instant) verdict
	permitOf(p limiter.PartitionID) (until limiter.Instant, last uint64)
	// live returns the nonces of a key's leases.
	live(k key, now limiter.Instant) []uint64
	// units returns how many units of a key are in the window.
	units(k key, now limiter.Instant) int
	// lacks tells whether a hit is known to be missing.
	lacks(k key, uid uint64) bool
}

// key is a client's key in a partition.
type key struct {
	p limiter.PartitionID
	n uint8
}

// verdict is what a store says. Unless decided nothing has changed.
type verdict struct {
	decided bool
	ok      bool // allowed, granted, renewed, released
	permit  limiter.Instant
	nonce   uint64
}

// naive keeps the state of a node's partitions in the simplest way there is: every hit by
// its number, so that one that is lost or counted twice can be named.
type naive struct {
	parts []naivePart
	wake  func()
	woken bool
}

type naivePart struct {
	permit    limiter.Instant
	recording bool
	seq       uint64
	open      limiter.Changes
	content
}

func newNaive(partitions int, wake func()) *naive {
	return &naive{parts: make([]naivePart, partitions), wake: wake}
}

// mayDecide returns a partition, and what a verdict begins with.
func (s *naive) mayDecide(p limiter.PartitionID, now limiter.Instant) (*naivePart, verdict) {
	np := &s.parts[p]
	behind := np.open.Last > 0 && now.Sub(np.open.Since) > maxBehind
	return np, verdict{decided: now < np.permit && !behind, permit: np.permit}
}

func (s *naive) check(k key, uid uint64, now limiter.Instant) verdict {
	np, v := s.mayDecide(k.p, now)
	if v.decided && np.units(k.n, now) < limit {
		v.ok = true
		s.change(np, change{kind: hit, key: k.n, a: uid, at: now}, now)
	}
	return v
}

func (s *naive) acquire(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict {
	np, v := s.mayDecide(k.p, now)
	if !v.decided {
		return v
	}
	if l := np.of(k.n, run); l != nil && !l.dead && l.end > now {
		v.ok, v.nonce = true, l.nonce
	} else if len(np.live(k.n, now)) < runLimit {
		v.ok, v.nonce = true, nonce
		s.change(np, change{granted, k.n, run, nonce, now.Add(ttl)}, now)
	}
	return v
}

func (s *naive) renew(k key, run, nonce uint64, ttl time.Duration, now limiter.Instant) verdict {
	np, v := s.mayDecide(k.p, now)
	if !v.decided {
		return v
	}
	l := np.of(k.n, run)
	switch {
	case l != nil && l.nonce == nonce && !l.dead && l.end > now:
		v.ok = true
		s.change(np, change{granted, k.n, run, nonce, max(l.end, now.Add(ttl))}, now)
	case np.doubt != 0 && (l == nil || l.end <= now || l.dead && l.nonce != nonce):
		v.ok = true // taken up again
		s.change(np, change{granted, k.n, run, nonce, now.Add(ttl)}, now)
	}
	return v
}

func (s *naive) release(k key, run, nonce uint64, now limiter.Instant) verdict {
	np, v := s.mayDecide(k.p, now)
	if !v.decided {
		return v
	}
	l := np.of(k.n, run)
	switch {
	case l != nil && l.nonce == nonce && !l.dead && l.end > now:
		v.ok = true
		s.change(np, change{released, k.n, run, nonce, l.end}, now)
	case np.doubt != 0 && (l == nil || l.end <= now || l.dead && l.nonce != nonce):
		// It may have been lost here, and be known to another holder.
		s.change(np, change{released, k.n, run, nonce, now.Add(limiter.MaxTTL)}, now)
	}
	return v
}

func (s *naive) permitOf(p limiter.PartitionID) (limiter.Instant, uint64) {
	return s.parts[p].permit, s.parts[p].seq
}

func (s *naive) live(k key, now limiter.Instant) []uint64 { return s.parts[k.p].live(k.n, now) }

func (s *naive) units(k key, now limiter.Instant) int { return s.parts[k.p].units(k.n, now) }

func (s *naive) lacks(k key, uid uint64) bool {
	return !slices.ContainsFunc(s.parts[k.p].hits, func(h admitted) bool { return h.uid == uid })
}

// change makes a change, and records it.
func (s *naive) change(np *naivePart, c change, now limiter.Instant) {
	np.make(c)
	np.forget(now)
	if !np.recording {
		return
	}
	np.seq++
	if np.open.Last == 0 {
		np.open.First, np.open.Since = np.seq, now
	}
	np.open.Last = np.seq
	np.open.Bytes = c.append(np.open.Bytes)
	if !s.woken {
		s.woken = true
		s.wake()
	}
}

// The rest is what the machine asks of a store; see limiter.Table.

func (s *naive) Permit(p limiter.PartitionID, until limiter.Instant) uint64 {
	s.parts[p].permit = until
	return s.parts[p].seq
}

func (s *naive) Record(p limiter.PartitionID, on bool) {
	np := &s.parts[p]
	np.recording, np.seq, np.open = on, 0, limiter.Changes{}
}

func (s *naive) Pause(p limiter.PartitionID, on bool) uint64 {
	np := &s.parts[p]
	np.recording = !on
	if on {
		np.seq++
		np.open = limiter.Changes{}
	}
	return np.seq
}

func (s *naive) TakeInto(buf []byte, p limiter.PartitionID) (limiter.Changes, []byte) {
	c := s.parts[p].open
	s.parts[p].open = limiter.Changes{}
	return c, buf
}

func (s *naive) Dirty(dst []limiter.PartitionID) []limiter.PartitionID {
	s.woken = false
	for i := range s.parts {
		if s.parts[i].open.Last > 0 {
			dst = append(dst, limiter.PartitionID(i))
		}
	}
	return dst
}

func (s *naive) Snapshot(dst []byte, p limiter.PartitionID, since limiter.Instant) ([]byte, uint64) {
	return s.parts[p].append(dst, since), s.parts[p].seq
}

func (s *naive) Install(p limiter.PartitionID, snapshot []byte, shift time.Duration, _ limiter.Instant) error {
	var c content
	if err := c.read(snapshot, 0, 0, shift); err != nil {
		return err
	}
	s.parts[p].content = c
	return nil
}

func (s *naive) ExpectChanges(limiter.PartitionID, []byte) {}

func (s *naive) ApplyFrom(p limiter.PartitionID, changes []byte, from, first uint64, shift time.Duration, _ limiter.Instant) error {
	return s.parts[p].read(changes, from, first, shift)
}

func (s *naive) Merge(p limiter.PartitionID, pieces []limiter.Piece, shift time.Duration, now limiter.Instant) error {
	var other content
	for _, o := range pieces {
		if err := other.read(o.Bytes, o.From, o.First, shift); err != nil {
			return err
		}
	}
	np := &s.parts[p]
	for _, h := range other.hits {
		s.change(np, change{kind: hit, key: h.key, a: h.uid, at: h.at}, now)
	}
	for _, l := range other.leases {
		if own := np.of(l.key, l.run); l.end > now && own.yieldsTo(l) {
			c := change{granted, l.key, l.run, l.nonce, l.end}
			if l.dead {
				c.kind = released
			}
			if own != nil && own.nonce == l.nonce {
				c.at = max(l.end, own.end)
			}
			s.change(np, c, now)
		}
	}
	return nil
}

func (s *naive) Clear(p limiter.PartitionID) { s.parts[p].content = content{} }

func (s *naive) Doubt(p limiter.PartitionID, e limiter.Exactness, since limiter.Instant, _ bool) {
	s.change(&s.parts[p], change{kind: doubted, key: uint8(e), at: since}, since)
}

func (s *naive) Prolong(p limiter.PartitionID, d time.Duration, now limiter.Instant) {
	s.change(&s.parts[p], change{kind: prolonged, a: uint64(d)}, now)
}

var errTorn = errors.New("torn changes")

// change is one thing that happened in a partition. What its fields mean follows from its
// kind.
type change struct {
	kind changeKind
	key  uint8
	a, b uint64
	at   limiter.Instant
}

type changeKind uint8

const (
	hit       changeKind = iota // of number a
	granted                     // to run a a lease with nonce b until at
	released                    // of run a the lease with nonce b that would end at at
	prolonged                   // all leases by a
	doubted                     // key: how, since at
)

const changeSize = 26

func (c change) append(b []byte) []byte {
	b = append(b, byte(c.kind), c.key)
	b = binary.BigEndian.AppendUint64(b, c.a)
	b = binary.BigEndian.AppendUint64(b, c.b)
	return binary.BigEndian.AppendUint64(b, uint64(c.at))
}

func readChange(b []byte, shift time.Duration) change {
	at := limiter.Instant(binary.BigEndian.Uint64(b[18:])).Add(shift)
	return change{changeKind(b[0]), b[1], binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:]), at}
}
