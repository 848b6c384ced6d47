package limiter

import (
	"slices"
	"time"
)

// MaxInspected is how many entries of a history Inspect returns at most, the newest: with fewer
// it has left out none.
const MaxInspected = 1000

// A KeyState is what a partition knows of one key.
type KeyState struct {
	History    []Entry       // oldest first
	Horizon    time.Duration // the longest period that the history serves
	Leases     []Lease       // live ones
	Tombstones int           // of released leases that would not have ended yet
}

// An Entry tells units that were admitted within one quantum.
type Entry struct {
	At    Instant // the end of the quantum
	Units uint32
}

// Inspect returns what is known of a key at now, and whether anything is. It changes
// nothing, and asks for no permit.
func (t *Table) Inspect(k Key, now Instant) (KeyState, bool) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records.find(k.ID)
	if r == nil {
		return KeyState{}, false
	}
	h := p.history(r)
	ks := KeyState{Horizon: time.Duration(r.horizon) * time.Millisecond}
	for i := h.newestTicks(MaxInspected, h.firstLive(int64(r.horizon), now)); i < h.entries(); i++ {
		e := Entry{millis(h.newest - h.age(i)), h.units(i) - h.unitsBefore(i)}
		if n := len(ks.History); n > 0 && ks.History[n-1].At == e.At {
			ks.History[n-1].Units += e.Units
			continue
		}
		ks.History = append(ks.History, e)
	}
	if set := p.sets.of(r); set != nil {
		ks.Leases = set.live.at(now)
		ks.Tombstones = len(set.tombstones.at(now))
	}
	return ks, len(ks.History) > 0 || len(ks.Leases) > 0 || ks.Tombstones > 0
}

// newestTicks returns the oldest entry, from on, of the newest so many ticks. One tick may have
// several entries: they stay together.
func (h *history) newestTicks(ticks int, from uint32) uint32 {
	i, last := h.entries(), int64(-1)
	for ; i > from; i-- {
		age := h.age(i - 1)
		if age != last {
			if ticks == 0 {
				break
			}
			ticks--
		}
		last = age
	}
	return i
}

// at returns those that have not ended at now.
func (s *leases) at(now Instant) (live []Lease) {
	for _, l := range s.ends {
		if l.Expiry > now {
			live = append(live, l.Lease)
		}
	}
	return live
}

// A HeldLease is a lease and whose it is.
type HeldLease struct {
	Of Identity
	Lease
}

// Leases returns at most most leases that are live at now, of one key of p or, if of is nil, of all,
// and whether there are more. It asks for no permit, and holds p up no longer than for so many.
func (t *Table) Leases(p PartitionID, of *Identity, most int, now Instant) (held []HeldLease, more bool) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	look := func(r *record) {
		set := part.sets.of(r)
		if set == nil {
			return
		}
		held = slices.Grow(held, min(len(set.live.ends), most-len(held)))
		for _, l := range set.live.ends {
			if l.Expiry <= now {
				continue
			}
			if more = len(held) >= most; more {
				return
			}
			held = append(held, HeldLease{r.id, l.Lease})
		}
	}
	if of != nil {
		if r := part.records.find(*of); r != nil {
			look(r)
		}
		return held, more
	}
	for i := uint32(0); i < part.records.slots() && !more; i++ {
		if r := part.records.at(i); r.occupied() {
			look(r)
		}
	}
	return held, more
}

// Reset forgets a key's history; its leases stay. It returns whether there was something
// to forget, or ErrUndecided.
func (t *Table) Reset(k Key, now Instant) (found bool, err error) {
	p := &t.partitions[k.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	now = p.advance(now)
	if !t.mayDecide(p, now) {
		return false, ErrUndecided
	}
	h := p.history(p.records.find(k.ID))
	if h.record == nil || h.entries() == 0 {
		return false, nil
	}
	found = h.firstLive(int64(h.horizon), now) < h.entries()
	h.dropFront(h.entries())
	if p.recorder != nil {
		p.recorder.reset(k.ID, now)
	}
	return found, nil
}
