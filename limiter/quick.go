package limiter

import "time"

// quick counts what most requests are: one that is allowed, of a plain tier with the window w,
// for a key whose history is not wide, serves that window, and either fits into its record or
// is a tree of which nothing expires. It is what readings do, without their generality, for a
// third of the time; the tests cannot tell them apart. It returns false, having changed nothing,
// if the request is another.
func (r *record) quick(w *window, cost Cost, now Instant, chunks *chunkPool, d *Decision) bool {
	if int64(r.horizon) != w.per || cost-1 >= narrowMask || r.last+millis(w.per) <= now {
		return false
	}
	switch {
	case r.form() == wide:
		return false
	case r.height() > 0:
		return r.quickTail(w, cost, now, chunks, d)
	case r.form() == narrow:
		return r.quickNarrow(w, cost, now, d)
	}
	return cost == 1 && r.quickSingle(w, now, d)
}

// quickSingle is quick for one more unit of a history of single cells that are in the record.
func (r *record) quickSingle(w *window, now Instant, d *Decision) bool {
	cells, n := r.singles(), r.entries()
	if n-1 >= uint32(len(cells)) {
		return false
	}
	newestCell := cells[n-1]
	last := r.last.ceilMillis()
	newest := last + int64(newestCell-uint16(last))

	nowMillis := now.floorMillis()
	expired := uint32(0)
	for limit := newest + w.per - nowMillis; expired < n-1 && int64(newestCell-cells[expired]) >= limit; expired++ {
	}
	n -= expired
	used := n + 1
	age := int64(newestCell - cells[expired])
	tick := now.ceilMillis()
	if tick < newest || used > w.limit || tick-newest+age > narrowMask || n == uint32(len(cells)) {
		return false
	}
	if tick == newest {
		if n >= mostOfTick && cells[expired+n-mostOfTick] == newestCell {
			return false
		}
		r.last = max(r.last, now)
	} else {
		r.last = max(now, millis(newest))
	}
	if expired > 0 {
		copy(cells[:], cells[expired:][:n])
	}
	cells[n] = uint16(tick)
	r.meta = r.meta&^countMask | used<<countShift

	d.Allowed, d.Exactness = true, Exact
	d.Limit, d.Remaining = w.limit, w.limit-used
	if oldest := newest - age; oldest == tick {
		d.Reset = roundUp((r.last + millis(w.per)).Sub(now))
	} else {
		d.Reset = time.Duration(oldest+w.per-nowMillis) * time.Millisecond
	}
	return true
}

// quickNarrow is quick for a history of narrow cells that are in the record.
func (r *record) quickNarrow(w *window, cost Cost, now Instant, d *Decision) bool {
	n := r.entries()
	if n == 0 {
		return false
	}
	newestCell := r.words[n-1]
	last := r.last.ceilMillis()
	newest := last + int64(uint16(newestCell>>16)-uint16(last))
	age := func(cell uint32) int64 { return int64(uint16(newest) - uint16(cell>>16)) }

	// What has expired, and what is used.
	nowMillis := now.floorMillis()
	expired, base := uint32(0), uint32(0)
	for limit := newest + w.per - nowMillis; expired < n-1 && age(r.words[expired]) >= limit; expired++ {
		base = r.words[expired] & narrowMask
	}
	used := newestCell&narrowMask - base + uint32(cost)
	tick := now.ceilMillis()
	if tick < newest || used > w.limit || used > narrowMask || tick-newest+age(r.words[expired]) > narrowMask ||
		tick > newest && n-expired == inlineWords {
		return false
	}

	// Forget and count.
	if expired > 0 {
		n -= expired
		for i := range n {
			r.words[i] = r.words[i+expired] - base
		}
	}
	if tick == newest {
		r.words[n-1] += uint32(cost)
		r.last = max(r.last, now)
	} else {
		r.words[n] = uint32(tick)<<16 | used
		r.last = max(now, millis(newest))
		n++
	}
	r.meta = r.meta&^countMask | n<<countShift

	// Report: with one unit less, the oldest entry is what remaining waits for.
	d.Allowed, d.Exactness = true, Exact
	d.Limit, d.Remaining = w.limit, w.limit-used
	if n == 1 {
		d.Reset = roundUp((r.last + millis(w.per)).Sub(now))
	} else {
		d.Reset = time.Duration(newest-age(r.words[0])+w.per-nowMillis) * time.Millisecond
	}
	return true
}

// quickTail is quick for a history that is a tree: its newest cell grows, or has one behind it.
func (r *record) quickTail(w *window, cost Cost, now Instant, chunks *chunkPool, d *Decision) bool {
	n := r.entries()
	end := r.head() + n
	singles := r.form() == single
	at := (end - 1) % r.cellsIn(tailWords) // of the newest cell in the tail
	var newestTick uint16
	used := n
	if singles {
		newestTick = r.tail()[at]
	} else {
		newestCell := r.words[tailWord+at]
		newestTick, used = uint16(newestCell>>16), (newestCell-r.words[baseWord])&narrowMask
	}
	used += uint32(cost)
	last := r.last.ceilMillis()
	newest := last + int64(newestTick-uint16(last))
	oldest := newest - int64(uint16(newest)-uint16(r.words[baseWord]>>16))

	nowMillis, tick := now.floorMillis(), now.ceilMillis()
	switch {
	case oldest+w.per <= nowMillis || tick < newest || used > w.limit || used > narrowMask || tick-oldest > narrowMask:
		return false
	case singles && (cost > 1 || end == maxSingle || tick == newest && (at == 0 || r.tail()[at-1] == newestTick)):
		return false
	}
	if tick == newest && !singles {
		cell := &r.words[tailWord+at]
		*cell = *cell&^narrowMask | (*cell+uint32(cost))&narrowMask
	} else {
		r.appendTail(end, uint32(tick), used+r.words[baseWord], chunks)
	}
	if tick == newest {
		r.last = max(r.last, now)
	} else {
		r.last = max(now, millis(newest))
	}
	d.Allowed, d.Exactness = true, Exact
	d.Limit, d.Remaining = w.limit, w.limit-used
	d.Reset = time.Duration(oldest+w.per-nowMillis) * time.Millisecond
	return true
}

// appendTail adds a cell at position end, which is the one behind the last.
func (r *record) appendTail(end, tick, cum uint32, chunks *chunkPool) {
	at := end % r.cellsIn(tailWords)
	if at == 0 {
		h := history{record: r, chunks: chunks}
		h.makeRoom(end)
	}
	if r.form() == single {
		r.tail()[at] = uint16(tick)
	} else {
		r.words[tailWord+at] = tick<<16 | cum&narrowMask
	}
	r.words[countWord]++
}
