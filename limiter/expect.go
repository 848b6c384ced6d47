package limiter

import "unsafe"

// Expect tells the table that k is about to be asked for: its memory is then on its way while
// others are decided. In a large table a decision is mostly waiting for memory, and a batch of
// which all keys are expected first waits for many at a time. It decides and changes nothing.
//
// It takes no lock: to take one is to wait for all memory that was asked for before.
func (t *Table) Expect(k Key) {
	prefetch(unsafe.Pointer(&t.partitions[k.Partition]))
	if o := t.outlines[k.Partition].Load(); len(o.pages) > 0 {
		prefetchRun(unsafe.Pointer(o.at(o.home(k.ID))))
	}
}

// expectEnds has the ends of the record's tree on their way, if it has one: where the oldest cells
// are, and where the newest go when the tail is full.
func (r *record) expectEnds(chunks *chunkPool) {
	if r.height() == 0 {
		return
	}
	prefetch(unsafe.Pointer(chunks.at(r.words[firstWord])))
	if (r.head()+r.entries())%r.cellsIn(tailWords) == 0 {
		prefetch(unsafe.Pointer(chunks.at(r.words[lastWord])))
	}
}
