package limiter

import "time"

// A doubt says that a partition may know less than what happened before an instant.
type doubt struct {
	exactness Exactness // 0: there is no doubt
	since     Instant
	half      bool // until the doubt is over limits count half
}

// doubts are at most one Degraded and one Recovering, in this order.
type doubts [2]doubt

// lasting returns the graver doubt about what happened so long before now, with half of
// either; the zero doubt if there is none.
func (ds *doubts) lasting(back time.Duration, now Instant) (found doubt) {
	if ds == nil {
		return doubt{}
	}
	for _, d := range ds {
		if d.exactness == 0 || now.Sub(d.since) >= back {
			continue
		}
		if found.exactness == 0 {
			found = d
		} else if d.half && !found.half {
			found.since, found.half = d.since, true
		}
	}
	return found
}

// raise adds d to the state's doubts. One of the same kind lasts from the later instant.
func (s *state) raise(d doubt) {
	var ds doubts
	if s.doubts != nil {
		ds = *s.doubts
	}
	of := &ds[Degraded-d.exactness]
	d.since = max(d.since, of.since)
	*of = d
	s.doubts = &ds
}

// Doubt marks what p knows as Recovering or Degraded since an instant: the decisions of a
// tier are told so until its longest window has passed since; Degraded as long as both
// last. With half, each window of a tier has half its limit until then (rounded up); runs
// have all of theirs, as those that are not known come back when they are renewed.
func (t *Table) Doubt(p PartitionID, e Exactness, since Instant, half bool) {
	if e != Recovering && e != Degraded {
		return
	}
	part := &t.partitions[p]
	part.mu.Lock()
	defer part.mu.Unlock()
	d := doubt{exactness: e, since: since, half: half}
	part.raise(d)
	if part.recorder != nil {
		part.recorder.doubt(d, max(since, part.clock))
	}
}

// doubt takes into account that what is read may lack something.
func (rs *readings) doubt(ds *doubts) {
	rs.exactness = Exact
	if ds == nil {
		return
	}
	d := ds.lasting(rs.tier.Longest(), rs.now)
	if d.exactness == 0 {
		return
	}
	rs.exactness = d.exactness
	if d.half {
		rs.whole, rs.tier, rs.until = rs.tier, rs.tier.half, d.since.Add(rs.tier.Longest())
	}
}

// retryAfter returns how long until cost passes. While limits count half that is when
// half the limits let it pass, or when they count whole again and do.
func (rs *readings) retryAfter(cost uint32) time.Duration {
	if rs.whole == nil {
		return rs.wait(cost)
	}
	half := *rs
	rs.tier = rs.whole
	wait := max(roundUp(rs.until.Sub(rs.now)), rs.wait(cost))
	rs.tier = half.tier
	if cost <= half.tier.minLimit {
		wait = min(wait, half.wait(cost))
	}
	return wait
}

// reportWhole corrects reset: remaining grows at the latest when limits count whole.
func (rs *readings) reportWhole(d *Decision) {
	wait := roundUp(rs.until.Sub(rs.now))
	if rs.whole.minLimit > rs.tier.minLimit && (d.Reset == 0 || d.Reset > wait) {
		d.Reset = wait
	}
}
