package limiter

import (
	"errors"
	"fmt"
	"time"
)

// A Piece of what a holder admitted is a snapshot, or changes that begin with sequence From. Of
// changes those before sequence First are skipped.
type Piece struct {
	Bytes       []byte
	From, First uint64
}

// Merge adds what another holder of p has admitted to the state in p, which is held here.
// That comes as a snapshot, or as changes in several pieces, in their order: a history is
// written anew once, however many it is in. Instants are the sender's, as for Install. After an
// error nothing has changed. What changes is recorded.
//
// Units are added at their instants, and counted twice if both had counted them. Leases
// are united by their run: a tombstone ends a lease of its nonce wherever that is live, and
// one of another nonce that would end before it: an answer that never came left it, and the
// run was acquired again. Of two live leases of a run the one that ends later stays.
func (t *Table) Merge(p PartitionID, other []Piece, shift time.Duration, now Instant) error {
	of := admitted{told: map[Identity]*past{}, leased: map[Identity]bool{}}
	for _, o := range other {
		if err := t.gather(&of, o, shift, now); err != nil {
			return err
		}
	}
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.sets.room() < len(of.leased) {
		return errors.New("there are too many keys with leases")
	}
	now = part.advance(now)
	keys := part.records.n
	part.merge(&of, now)
	t.keys.Add(int64(part.records.n) - int64(keys))
	return nil
}

// admitted is what another holder has admitted. Each piece is read by itself: of a key that it does not
// know a state forgets by the tier of the moment, and of a run all but the last lease.
type admitted struct {
	largest uint32
	keys    []Identity // that told has
	told    map[Identity]*past
	leases  []admittedLeases // in the order of the pieces
	leased  map[Identity]bool
}

type admittedLeases struct {
	id  Identity
	set *leaseSet
}

// gather adds a piece to what another holder has admitted.
func (t *Table) gather(of *admitted, o Piece, shift time.Duration, now Instant) error {
	s := t.newState()
	defer s.release()
	if err := s.read(o.Bytes, o.From, o.First, shift, now); err != nil {
		return err
	}
	of.largest = max(of.largest, s.largest)
	s.each(func(r *record) {
		told := new(past)
		h := s.history(r)
		if h.tell(told, 0); len(told.entries) > 0 {
			of.tell(r.id, told)
		}
		if set := s.sets.of(r); set != nil {
			of.leases = append(of.leases, admittedLeases{r.id, set})
			of.leased[r.id] = true
		}
	})
	return nil
}

func (a *admitted) tell(id Identity, told *past) {
	known := a.told[id]
	if known == nil {
		a.keys = append(a.keys, id)
		a.told[id] = told
		return
	}
	if known.follow(told) {
		return
	}
	a.told[id] = unite(known, told)
}

// read reads a snapshot or changes into s, which is empty.
func (s *state) read(b []byte, from, first uint64, shift time.Duration, now Instant) error {
	if len(b) > 0 && b[0] == formatChanges {
		if err := s.replay(b, from, first, shift, now); err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		return nil
	}
	r := newReader(b, formatSnapshot, shift, now)
	r.snapshot(s)
	if r.err != nil {
		return fmt.Errorf("snapshot: %w", r.err)
	}
	return nil
}

func (p *partition) merge(of *admitted, now Instant) {
	if of.largest > p.largest {
		p.largest = of.largest
		if p.recorder != nil {
			p.recorder.largest(p.largest, now)
		}
	}
	p.records.reserve(p.unknown(of)) // keys come in order, see insertNext
	for _, id := range of.keys {
		told := of.told[id]
		p.unite(id, told, now)
		if p.recorder != nil {
			p.recorder.united(id, told, now)
		}
	}
	for _, l := range of.leases {
		p.mergeLeases(l.id, l.set, now)
	}
}

// unknown returns how many of the keys the state does not know.
func (s *state) unknown(of *admitted) (n uint32) {
	for _, id := range of.keys {
		if s.records.find(id) == nil {
			n++
		}
	}
	for id := range of.leased {
		if of.told[id] == nil && s.records.find(id) == nil {
			n++
		}
	}
	return n
}

// unite adds what is told of a key to its history.
func (s *state) unite(id Identity, told *past, now Instant) {
	h := s.history(s.claim(id))
	h.keepFor(told.horizon, now)
	var own past
	h.tell(&own, 0)
	u := unite(&own, told)
	u.forget(now)
	u.trim(s.largest)
	h.rebuild(u)
}

// mergeLeases unites the leases of a key with those of another holder.
func (p *partition) mergeLeases(id Identity, other *leaseSet, now Instant) {
	set := p.sets.of(p.records.find(id))
	if set == nil {
		set = new(leaseSet) // until there is something to put in
	}
	give := func() *leaseSet {
		set = p.sets.give(p.claim(id))
		return set
	}
	for _, dead := range other.tombstones.ends {
		if l := dead.Lease; l.Expiry > now && set.ends(&l) {
			give().bury(l)
			if p.recorder != nil {
				p.recorder.released(id, &l, now)
			}
		}
	}
	for _, live := range other.live.ends {
		if l := live.Lease; l.Expiry > now && set.gains(&l) {
			give().put(l)
			if p.recorder != nil {
				p.recorder.lease(id, &l, now)
			}
		}
	}
}

// ends tells whether another holder's tombstone says something new, and makes it last as
// long as what it ends.
func (s *leaseSet) ends(dead *Lease) bool {
	if l, ok := s.live.byRun[dead.Run]; ok {
		if l.Nonce != dead.Nonce && l.Expiry >= dead.Expiry {
			return false // the run was taken up again
		}
		dead.Expiry = max(dead.Expiry, l.Expiry)
		return true
	}
	old, ok := s.tombstones.byRun[dead.Run]
	return !ok || old.Expiry < dead.Expiry
}

// gains tells whether another holder's live lease is to replace what s has of its run, and
// gives it the names that only s knows.
func (s *leaseSet) gains(l *Lease) bool {
	if dead, ok := s.tombstones.byRun[l.Run]; ok && (dead.Nonce == l.Nonce || dead.Expiry > l.Expiry) {
		return false
	}
	own, ok := s.live.byRun[l.Run]
	if !ok {
		return true
	}
	if own.Nonce != l.Nonce {
		return own.Expiry < l.Expiry
	}
	later := max(own.Expiry, l.Expiry)
	named := own.Adopted && !l.Adopted
	gains := named || own.Expiry < l.Expiry
	if !own.Adopted {
		*l = own.Lease
	}
	l.Expiry = later
	return gains
}
