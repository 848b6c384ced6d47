package limiter

import "unsafe"

// Memory returns how many bytes the table has taken for keys and their histories, and how many
// of them partitions have. Leases are not among them.
func (t *Table) Memory() (taken, used int64) {
	records, recordsUsed := t.records.memory()
	chunks, chunksUsed := t.chunks.memory()
	return records + chunks, recordsUsed + chunksUsed
}

// memory returns how many bytes the arena has taken, and how many of them are given out.
func (a *arena[T]) memory() (taken, used int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var line T
	size := int64(unsafe.Sizeof(line))
	if slabs := a.slabs.Load(); slabs != nil {
		taken = int64(len(*slabs)) * slabLines * size
	}
	return taken, (int64(a.next) - int64(len(a.free))) * int64(a.page) * size
}

// CountLeases returns how many leases in p are live at now. Unlike Leases it looks at no key that
// has none. It asks for no permit.
func (t *Table) CountLeases(p PartitionID, now Instant) (n int) {
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	for _, set := range part.sets.sets {
		if set == nil {
			continue
		}
		for _, l := range set.live.ends {
			if l.Expiry > now {
				n++
			}
		}
	}
	return n
}
