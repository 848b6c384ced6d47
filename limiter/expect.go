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

// expectEnds has on their way what a hit at now will need of the record's tree, if it has one: its
// first leaf, if the oldest has left a window of per milliseconds, and its last, if the tail is full.
func (r *record) expectEnds(per int64, now Instant, chunks *chunkPool) {
	if r.height() == 0 {
		return
	}
	if int64(uint16(now.floorMillis())-uint16(r.words[baseWord]>>16)) >= per { // it need not be exact
		prefetch(unsafe.Pointer(chunks.at(r.words[firstWord])))
	}
	if (r.head()+r.entries())%r.cellsIn(tailWords) == 0 {
		prefetch(unsafe.Pointer(chunks.at(r.words[lastWord])))
	}
}
