package limiter

import (
	"container/heap"
	"time"
)

// Bounds of a lease.
const (
	MinTTL = time.Second
	MaxTTL = 10 * time.Minute
	// MaxRunIDLen is the length of the longest run_id and task_id, in bytes.
	MaxRunIDLen = 256
)

// A Lease is what is known of one piece of concurrent work.
type Lease struct {
	Run       RunHash
	RunID     string
	TaskID    string
	RequestID string // of the call that acquired it
	Tier      string
	Nonce     uint64 // tells this lease from an earlier one of the same run
	Acquired  Instant
	Expiry    Instant // it is live before this instant
	// Adopted says that it was taken up from a renewal: its run and task are known by
	// their hash only, until it is acquired again.
	Adopted bool
}

// A leaseSet holds the leases of one key. How many it has in use is the number of
// live ones: there is no counter beside them that could drift.
type leaseSet struct {
	live leases
	// tombstones are the released leases, until they would have expired: only what
	// names them, and the last maxTombstones to end.
	tombstones leases
}

// maxTombstones bounds the memory of a key whose runs are short and whose leases are long.
const maxTombstones = 1024

// expire forgets the leases and tombstones that have ended at now.
func (s *leaseSet) expire(now Instant) {
	s.live.expire(now)
	s.tombstones.expire(now)
}

func (s *leaseSet) empty() bool { return len(s.live.ends) == 0 && len(s.tombstones.ends) == 0 }

// grant adds a lease for a run that has none. It supersedes the run's tombstone.
func (s *leaseSet) grant(of Lease) {
	if old, ok := s.tombstones.byRun[of.Run]; ok {
		s.tombstones.remove(old)
	}
	s.live.add(&lease{Lease: of})
}

// find returns the live lease that ref names, or nil.
func (s *leaseSet) find(ref LeaseRef) *lease {
	if l, ok := s.live.byRun[ref.Run]; ok && l.Nonce == ref.Nonce {
		return l
	}
	return nil
}

// release ends a live lease and leaves its tombstone.
func (s *leaseSet) release(l *lease) { s.bury(l.Lease) }

// put has the run of a lease hold that and nothing else.
func (s *leaseSet) put(of Lease) {
	if old, ok := s.live.byRun[of.Run]; ok {
		s.live.remove(old)
	}
	s.grant(of)
}

// bury ends a lease, if it is live, and leaves its tombstone. Another live lease of the run
// goes with it if it would not have ended later.
func (s *leaseSet) bury(of Lease) {
	if l, ok := s.live.byRun[of.Run]; ok && (l.Nonce == of.Nonce || l.Expiry < of.Expiry) {
		s.live.remove(l)
	}
	if old, ok := s.tombstones.byRun[of.Run]; ok {
		s.tombstones.remove(old)
	}
	s.tombstones.add(&lease{Lease: Lease{Run: of.Run, Nonce: of.Nonce, Expiry: of.Expiry}})
	if len(s.tombstones.ends) > maxTombstones {
		s.tombstones.remove(s.tombstones.ends[0])
	}
}

// prolong lets all that is in the set end later.
func (s *leaseSet) prolong(by Instant) {
	for _, ends := range [...]leaseHeap{s.live.ends, s.tombstones.ends} {
		for _, l := range ends { // their order stays
			l.Expiry = min(l.Expiry+by, maxInstant)
		}
	}
}

// inUse returns how many leases are live.
func (s *leaseSet) inUse() uint32 { return uint32(len(s.live.ends)) }

// freesIn returns how long until a live lease ends by itself, rounded up to
// milliseconds; 0 if none is live.
func (s *leaseSet) freesIn(now Instant) time.Duration {
	if len(s.live.ends) == 0 {
		return 0
	}
	return roundUp(s.live.ends[0].Expiry.Sub(now))
}

// leases finds leases by their run and by their end.
type leases struct {
	byRun map[RunHash]*lease
	ends  leaseHeap // the same, the first to end on top
}

type lease struct {
	Lease
	at int // in the heap
}

func (s *leases) add(l *lease) {
	if s.byRun == nil {
		s.byRun = make(map[RunHash]*lease)
	}
	s.byRun[l.Run] = l
	heap.Push(&s.ends, l)
}

func (s *leases) remove(l *lease) {
	delete(s.byRun, l.Run)
	heap.Remove(&s.ends, l.at)
}

func (s *leases) expire(now Instant) {
	for len(s.ends) > 0 && s.ends[0].Expiry <= now {
		s.remove(s.ends[0])
	}
}

// extend moves the end of l to expiry, unless it ends later anyway.
func (s *leases) extend(l *lease, expiry Instant) {
	if expiry > l.Expiry {
		l.Expiry = expiry
		heap.Fix(&s.ends, l.at)
	}
}

// leaseHeap orders leases by their end.
type leaseHeap []*lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].Expiry < h[j].Expiry }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *leaseHeap) Push(x any) {
	l := x.(*lease)
	l.at = len(*h)
	*h = append(*h, l)
}

func (h *leaseHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// leaseSets numbers the lease sets of a partition's records.
type leaseSets struct {
	sets []*leaseSet
	free []uint32
}

// of returns the record's lease set, or nil.
func (s *leaseSets) of(r *record) *leaseSet {
	if r == nil || r.leases() == 0 {
		return nil
	}
	return s.sets[r.leases()-1]
}

// full tells whether no further set can be numbered.
func (s *leaseSets) full() bool { return s.room() == 0 }

// room returns how many further sets can be numbered.
func (s *leaseSets) room() int { return len(s.free) + maxLeaseSets - len(s.sets) }

// give returns the record's lease set, which it makes if there is none.
func (s *leaseSets) give(r *record) *leaseSet {
	if set := s.of(r); set != nil {
		return set
	}
	set := new(leaseSet)
	if n := len(s.free); n > 0 {
		r.setLeases(s.free[n-1] + 1)
		s.free = s.free[:n-1]
		s.sets[r.leases()-1] = set
		return set
	}
	s.sets = append(s.sets, set)
	r.setLeases(uint32(len(s.sets)))
	return set
}

// expire forgets what has ended in the record's lease set, and the set itself if
// that leaves nothing.
func (s *leaseSets) expire(r *record, now Instant) {
	set := s.of(r)
	if set == nil {
		return
	}
	set.expire(now)
	if !set.empty() {
		return
	}
	s.sets[r.leases()-1] = nil
	s.free = append(s.free, r.leases()-1)
	r.setLeases(0)
	if len(s.free) == len(s.sets) {
		*s = leaseSets{}
	}
}
