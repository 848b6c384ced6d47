package ownership

import (
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// aside is what a former holder admitted that the present one may lack, kept until that
// one has taken it.
//
// It is told in the shortest form that the present one's state allows: the changes that it
// may lack; if it lacks more than these, the state since the first that a dropped copy
// lacks; if that is not enough, or there is no common past, all of the state. States, which are
// large and seldom told, stay in the store until they change there.
type aside struct {
	gen         Generation
	first, last uint64
	changes     []Stretch       // from first to last
	since       uint64          // the first change that a dropped copy lacks; 0: there was none,
	decided     limiter.Instant // when that was decided, or before,
	recent      []byte          // and the state since then; nil: it is in the store
	state       []byte          // the whole state; nil: it is in the store
	past        marks
	form        form
	to          string // whom it was sent to last,
	sent        limiter.Instant
	bytes       int
	times       int // and how many times, in this form
}

// form is how a remainder is told.
type form uint8

const (
	asChanges form = iota
	asRecent
	asWhole
)

// Of remainders so many bytes are under way to a node at a time, as it does little else while it takes
// them. One goes again after a while that doubles: the other may be slow, or does not take it.
const (
	maxRemainderBytes = 1 << 20 // one that is larger goes alone
	asideResend       = time.Second
	asideResendMost   = 4 * time.Second
)

// yield ends a holding because a later one was heard of: of two the earlier becomes a copy,
// and what it admitted is set aside for the later.
func (m *Machine) yield(pt *part) {
	h := pt.hold
	m.note(pt, "yields %v at %d to %v", pt.gen, h.last, pt.known)
	m.permit(pt, 0)
	if pt.aside != nil {
		m.keepAside(pt)
	}
	m.take(pt)
	a := &aside{gen: pt.gen, first: h.first, last: h.last, past: slices.Clone(pt.past)}
	if len(h.log) == 0 {
		a.first = h.last + 1
	}
	a.changes = slices.Clone(h.log)
	if f := h.fork; f != nil && f.cut && f.at > 0 {
		a.since, a.decided = f.acked+1, f.at
	}
	m.endHolding(pt)
	pt.complete, pt.at = true, Position{a.gen, a.last}
	if a.last == 0 && pt.parent.Gen != (Generation{}) {
		// It admitted nothing: all that there is is of its parent, and mostly known.
		a.gen, a.first, a.last, a.form = pt.parent.Gen, 0, pt.parent.Seq, asWhole
	}
	pt.aside = a
	pt.holder = claim{heard: m.now}
	pt.askedLast, pt.decided, pt.pledge = m.now, h.stopped, pledge{}
	m.announce = true
	m.hurry(pt)
}

// sendAside sends the remainder to the present holder, again until it has it.
func (m *Machine) sendAside(pt *part) {
	a := pt.aside
	if h := pt.hold; h != nil {
		if h.handoff == nil {
			m.keepAside(pt)
		}
		return
	}
	to := pt.holder.name
	p := m.peers[to]
	if to == "" || to == m.Name || !m.reachable(to) || !a.due(to, m.now) || a.times > p.fewest {
		return
	}
	if a.form != asChanges && a.state == nil {
		if p.crowded {
			return // and stays in the store as long
		}
		m.copyOut(pt)
	}
	r := a.remainder(pt)
	bytes := r.size()
	if p.remainders > 0 && p.remainders+bytes > maxRemainderBytes {
		p.crowded = true
		return // it goes with a later tick
	}
	a.to, a.sent, a.bytes = to, m.now, bytes
	a.times++
	p.remainders += bytes
	f := m.out.frame(to)
	f.Remainders = append(f.Remainders, *r)
}

// due tells whether it is to go to a node, again or not.
func (a *aside) due(to string, now limiter.Instant) bool {
	return a.to != to || a.times == 0 || now.Sub(a.sent) >= min(asideResend<<min(a.times-1, 8), asideResendMost)
}

// countRemainder counts the aside of a partition, if there is one, among those of who is to have it.
func (m *Machine) countRemainder(pt *part) {
	a := pt.aside
	if a == nil {
		return
	}
	if p := m.peers[a.to]; p != nil && a.underWay(m.now) {
		p.remainders += a.bytes
	}
	if p := m.peers[pt.holder.name]; p != nil && pt.hold == nil && a.due(p.name, m.now) {
		p.fewest = min(p.fewest, a.times)
	}
}

// underWay tells whether the other has not had the time to take it.
func (a *aside) underWay(now limiter.Instant) bool {
	return a.times > 0 && now.Sub(a.sent) < asideResend
}

// copyOut takes what an aside may have to tell out of the store, where it is about to change.
func (m *Machine) copyOut(pt *part) {
	a := pt.aside
	if a == nil || a.state != nil {
		return
	}
	if a.since > 0 {
		a.recent, _ = m.Store.Snapshot(nil, pt.id, a.decided-1) // with what was decided then
	}
	a.state, _ = m.Store.Snapshot(nil, pt.id, 0)
}

// keepAside takes the remainder of an earlier holding of this node's own, which by now
// holds again, from another's state.
func (m *Machine) keepAside(pt *part) {
	a := pt.aside
	r := a.remainder(pt)
	for has, known := pt.past.of(a.gen); a.form != asWhole && (!known || r.First > has+1); r = a.remainder(pt) {
		a.tellMore()
	}
	if err := m.merge(pt, r, 0); err != nil {
		m.reject(pt, m.Name, err)
		return
	}
	pt.aside = nil
}

// tellMore takes the next form: what was told was not enough.
func (a *aside) tellMore() {
	a.times = 0
	if a.form == asChanges && a.since > 0 {
		a.form = asRecent
	} else {
		a.form = asWhole
	}
}

// remainder returns what is to be told of an aside.
func (a *aside) remainder(pt *part) *Remainder {
	r := &Remainder{Partition: pt.id, Gen: a.gen, Last: a.last}
	switch a.form {
	case asChanges:
		r.First, r.Changes = a.first, a.changes
	case asRecent:
		r.First, r.State = a.since, a.recent
	case asWhole:
		r.Past, r.State = a.past, a.state
	}
	return r
}

// offer sets aside the state of a copy: a holder decides that may have no common past with
// it, and does not count on it.
func (m *Machine) offer(pt *part) {
	if pt.aside != nil {
		return // that one first
	}
	a := &aside{gen: pt.at.Gen, last: pt.at.Seq, past: slices.Clone(pt.past), form: asWhole}
	a.state, _ = m.Store.Snapshot(nil, pt.id, 0)
	m.note(pt, "offers its copy of %v/%d to %v", pt.at.Gen, pt.at.Seq, pt.holder.gen)
	m.discard(pt)
	pt.aside = a
}

// merged takes a former holder's remainder: each change once.
func (m *Machine) merged(p *peer, r *Remainder) {
	pt := &m.parts[r.Partition]
	h := pt.hold
	if h == nil || h.handoff != nil {
		return // it will be sent again
	}
	answer := Taken{Partition: pt.id, Gen: r.Gen, First: r.First, Last: r.Last}
	has, known := pt.past.of(r.Gen)
	if r.First > 0 && (!known || r.First > has+1) && !(known && has >= r.Last) {
		answer.Whole = true
	} else if err := m.merge(pt, r, p.shift.value()); err != nil {
		m.reject(pt, p.name, err)
		return
	}
	f := m.out.frame(p.name)
	f.Taken = append(f.Taken, answer)
}

// merge adds what of a remainder the state does not have, each change once. It returns the
// Store's error.
func (m *Machine) merge(pt *part, r *Remainder, shift time.Duration) error {
	has, known := pt.past.of(r.Gen)
	if known && has >= r.Last {
		return nil
	}
	m.take(pt)
	pieces, marks := m.lacking(pt, r, has)
	if len(pieces) > 0 {
		if err := m.Store.Merge(pt.id, pieces, shift, m.now); err != nil {
			return err
		}
	}
	for _, mark := range marks {
		pt.past.add(mark)
	}
	m.note(pt, "takes the remainder of %v, %d to %d, having %d", r.Gen, r.First, r.Last, has)
	mark := Position{r.Gen, r.Last}
	pt.past.add(mark)
	for _, past := range r.Past {
		pt.past.add(past)
	}
	if ch := m.takeChanges(pt); ch.Last > 0 {
		pt.hold.append(Stretch{ch, mark})
		if f := pt.hold.fork; f != nil {
			f.at = 0 // a dropped copy lacks what is as old as the remainder
		}
	}
	m.feed(pt)
	return nil
}

// lacking returns what of a remainder the state does not have, which has changes up to has of the
// same generation, and the marks that it has with it.
func (m *Machine) lacking(pt *part, r *Remainder, has uint64) (pieces []limiter.Piece, marks []Position) {
	if r.State != nil {
		pieces = append(pieces, limiter.Piece{Bytes: r.State})
	}
	past := slices.Clone(pt.past)
	for _, c := range r.Changes {
		if n, known := past.of(c.Mark.Gen); c.Last <= has || known && n >= c.Mark.Seq {
			continue // it is here, also if it came another way
		}
		pieces = append(pieces, limiter.Piece{Bytes: c.Bytes, From: c.First, First: has + 1})
		past.add(c.Mark)
		marks = append(marks, c.Mark)
	}
	return pieces, marks
}

// taken ends the sending of a remainder.
func (m *Machine) taken(t *Taken) {
	pt := &m.parts[t.Partition]
	a := pt.aside
	switch {
	case a == nil || a.gen != t.Gen:
	case t.Whole:
		if t.First == a.remainder(pt).First { // not if that was answered twice
			a.tellMore()
		}
	case t.Last >= a.last:
		pt.aside = nil
		m.room = true // for another remainder
	}
}
