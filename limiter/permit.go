package limiter

import (
	"errors"
	"math"
)

// forEver is after every instant that is decided at.
const forEver = Instant(math.MaxInt64)

// ErrUndecided is returned for a partition that may not be decided for at now. Nothing
// has changed.
var ErrUndecided = errors.New("the partition may not be decided for now")

// Permit lets the table decide for p at instants before until (0: no more: from its
// return on nothing in p changes until it is permitted again) and returns the sequence of
// the last recorded change.
func (t *Table) Permit(p PartitionID, until Instant) (last uint64) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.permit = until
	return part.lastChange()
}

// PermitOf returns until when p may be decided for, and the sequence of its last recorded
// change.
func (t *Table) PermitOf(p PartitionID) (until Instant, last uint64) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	return part.permit, part.lastChange()
}

// mayDecide tells whether p is permitted at now, and what it recorded is taken soon enough.
func (t *Table) mayDecide(p *partition, now Instant) bool {
	if now >= p.permit {
		return false
	}
	return p.recorder == nil || t.maxBehind == 0 || !p.recorder.pending() || now.Sub(p.recorder.since) <= t.maxBehind
}
