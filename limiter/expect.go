package limiter

// Expect tells the table that k is about to be asked for: its memory is then on its way while
// others are decided. In a large table a decision is mostly waiting for memory, and a batch of
// which all keys are expected first waits for many at a time. It decides and changes nothing.
func (t *Table) Expect(k Key) {
	p := &t.partitions[k.Partition]
	if p.mu.TryLock() { // it is only a hint
		p.records.expect(k.ID)
		p.mu.Unlock()
	}
}

// expect fetches the lines in which the record of id is, if there is one.
func (t *records) expect(id Identity) {
	if t.n == 0 {
		return
	}
	i := t.home(id)
	for end := min(i+expectedLines, t.slots()); i < end; i++ {
		prefetch(t.at(i))
	}
}

// expectedLines is how many lines are fetched: by trial, as at a million keys a decision takes
// longer with fewer.
const expectedLines = 4
