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

// quickTail is quick for a history that is a tree: of its first leaf some expires, or nothing; its
// newest cell grows, or has one behind it.
func (r *record) quickTail(w *window, cost Cost, now Instant, chunks *chunkPool, d *Decision) bool {
	n, base := r.entries(), r.words[baseWord]
	end := r.head() + n
	singles := r.form() == single
	at := (end - 1) % r.cellsIn(tailWords) // of the newest cell in the tail
	var newestTick uint16
	var cum uint32
	if singles {
		newestTick = r.tail()[at]
	} else {
		cum = r.words[tailWord+at]
		newestTick = uint16(cum >> 16)
	}
	last := r.last.ceilMillis()
	newest := last + int64(newestTick-uint16(last))
	nowMillis, tick := now.floorMillis(), now.ceilMillis()

	// What has expired, and what is used.
	oldest := newest - int64(uint16(newest)-uint16(base>>16))
	expired := uint32(0)
	if oldest+w.per <= nowMillis {
		if expired, base = r.expireLeaf(newest, newest+w.per-nowMillis, chunks); expired == 0 {
			return false
		}
		n -= expired
		oldest = newest - int64(uint16(newest)-uint16(base>>16))
	}
	used := n + uint32(cost)
	if !singles {
		used = (cum-base)&narrowMask + uint32(cost)
	}
	switch {
	case tick < newest || used > w.limit || used > narrowMask || tick-oldest > narrowMask:
		return false
	case singles && (cost > 1 || end == maxSingle || tick == newest && (at == 0 || r.tail()[at-1] == newestTick)):
		return false
	}

	// Forget and count.
	r.words[baseWord] = base
	r.words[countWord] += expired<<16 - expired
	if tick == newest && !singles {
		cell := &r.words[tailWord+at]
		*cell = *cell&^narrowMask | (*cell+uint32(cost))&narrowMask
	} else {
		r.appendTail(end, uint32(tick), used+base, chunks)
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

// expireLeaf tells how many of the oldest cells of a tree have an age of limit or more, which the
// oldest has, and the base without them. It tells 0 if the first leaf has none that is younger,
// or too few are left for a tree.
func (r *record) expireLeaf(newest, limit int64, chunks *chunkPool) (expired, base uint32) {
	per, head := r.cellsIn(chunkWords), r.head()
	leaf := chunks.at(r.words[firstWord])
	from := head % per
	to := from + min(per-from, r.entries()-r.cellsIn(inlineWords)+1)
	for at := from + 1; at < to; at++ {
		var tick, cum uint32
		if r.form() == single {
			tick = uint32(singles(leaf[:])[at])
		} else {
			tick, cum = leaf[at]>>16, leaf[at-1]&narrowMask
		}
		if int64(uint16(newest)-uint16(tick)) < limit {
			return at - from, tick<<16 | cum
		}
	}
	return 0, 0
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
