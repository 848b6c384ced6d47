package limiter

import "encoding/binary"

// A recorder writes down what changes in one partition, in order and numbered from 1,
// for those who keep a copy of it. What a copy cannot find out from the changes before is
// in each change: so whoever applies them all decides as the partition does.
type recorder struct {
	id    PartitionID
	of    *state
	marks *marks

	next   uint64  // sequence of the next change, less 1: of the last
	first  uint64  // sequence of the first that was not taken
	since  Instant // when that was decided
	before Instant // when the last was: what the next one's instant is told from
	buf    []byte  // of what was not taken: mostly in few
	few    [fewBytes]byte
}

// Changes is a stretch of what happened in one partition, encoded. It is immutable.
type Changes struct {
	First, Last uint64  // sequences, inclusive; Last 0: there are none
	Since       Instant // when the oldest was decided
	Bytes       []byte
}

// Record begins (on) or ends the recording of changes in p. Beginning it, also again,
// restarts the sequence: the next change is number 1. What was not taken is discarded.
func (t *Table) Record(p PartitionID, on bool) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.recorder, part.paused = nil, nil
	if on {
		part.recorder = &recorder{id: p, marks: &t.marks, of: &part.state}
	}
}

// Pause stops the recording of changes in p (on), or goes on with it, and returns the
// sequence of the last change. All that changes in a pause counts as one change, which has a
// number, the next, and is never taken: nor is what was not taken before. It is for as long
// as nobody wants changes, since recording them is a good part of a decision. p must be recorded.
func (t *Table) Pause(p PartitionID, on bool) (last uint64) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	switch {
	case on && part.recorder != nil:
		part.paused, part.recorder = part.recorder, nil
		part.paused.next++
		part.paused.buf = nil
	case !on && part.paused != nil:
		part.recorder, part.paused = part.paused, nil
	}
	return part.lastChange()
}

// lastChange returns the sequence of the last change; 0: none was ever recorded.
func (p *partition) lastChange() uint64 {
	switch {
	case p.recorder != nil:
		return p.recorder.next
	case p.paused != nil:
		return p.paused.next
	}
	return 0
}

// Take returns the changes recorded since the last Take: the zero Changes if there are
// none.
func (t *Table) Take(p PartitionID) Changes {
	c, _ := t.TakeInto(nil, p)
	return c
}

// TakeInto is Take with the changes' bytes appended to buf, which is returned: so those of many
// partitions share memory.
func (t *Table) TakeInto(buf []byte, p PartitionID) (Changes, []byte) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	r := part.recorder
	if !r.pending() {
		return Changes{}, buf
	}
	from := len(buf)
	buf = append(buf, r.buf...)
	c := Changes{First: r.first, Last: r.next, Since: r.since, Bytes: buf[from:len(buf):len(buf)]}
	if r.buf = r.buf[:0]; cap(r.buf) > keptBytes {
		r.buf = nil
	}
	return c, buf
}

// pending tells whether there is something to take.
func (r *recorder) pending() bool { return r != nil && len(r.buf) > 0 }

const (
	fewBytes  = 112  // what mostly is taken at a time: three hits
	keptBytes = 4096 // of a recorder that has nothing: so few that all partitions may have them
)

// change begins a change of the given kind at now.
func (r *recorder) change(kind byte, now Instant) {
	r.next++
	if len(r.buf) == 0 {
		if r.buf == nil {
			r.buf = r.few[:0]
		}
		r.buf = append(r.buf, formatChanges)
		r.buf = binary.AppendUvarint(r.buf, uint64(now))
		r.buf = binary.AppendUvarint(r.buf, uint64(r.of.largest))
		r.first, r.since, r.before = r.next, now, now
	}
	r.buf = append(r.buf, kind)
	r.buf = binary.AppendVarint(r.buf, int64(now-r.before))
	r.before = now
	r.marks.set(r.id)
}

func (r *recorder) uint(n uint64) { r.buf = binary.AppendUvarint(r.buf, n) }

// hit records that cost was admitted.
func (r *recorder) hit(id Identity, tier *Tier, cost Cost, now Instant) {
	r.change(changeHit, now)
	r.buf = appendIdentity(r.buf, id)
	r.uint(uint64(cost))
	r.uint(uint64(tier.quantum))
	r.uint(uint64(tier.horizon))
}

// kept records how long a history is kept from now on.
func (r *recorder) kept(id Identity, horizon uint32, now Instant) {
	r.change(changeKept, now)
	r.buf = appendIdentity(r.buf, id)
	r.uint(uint64(horizon))
}

// largest records that the partition has met a tier with a larger limit.
func (r *recorder) largest(limit uint32, now Instant) {
	r.change(changeLargest, now)
	r.uint(uint64(limit))
}

// united records what was added to a history from another holder's.
func (r *recorder) united(id Identity, p *past, now Instant) {
	r.change(changeUnited, now)
	r.buf = appendIdentity(r.buf, id)
	r.buf = p.append(r.buf, now)
}

// lease records a lease as it is now.
func (r *recorder) lease(id Identity, l *Lease, now Instant) {
	r.change(changeLease, now)
	r.buf = appendIdentity(r.buf, id)
	r.buf = l.append(r.buf, now)
}

// released records a tombstone.
func (r *recorder) released(id Identity, l *Lease, now Instant) {
	r.change(changeReleased, now)
	r.buf = appendIdentity(r.buf, id)
	r.buf = l.appendTombstone(r.buf, now)
}

// prolonged records that all leases end later.
func (r *recorder) prolonged(by Instant, now Instant) {
	r.change(changeProlonged, now)
	r.uint(uint64(by))
}

// reset records that a history was forgotten.
func (r *recorder) reset(id Identity, now Instant) {
	r.change(changeReset, now)
	r.buf = appendIdentity(r.buf, id)
}

// doubt records that what is known is not complete.
func (r *recorder) doubt(d doubt, now Instant) {
	r.change(changeDoubt, now)
	r.buf = d.append(r.buf, now)
}
