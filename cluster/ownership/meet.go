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
// lacks; if that is not enough, or there is no common past, all of the state.
type aside struct {
	gen         Generation
	first, last uint64
	changes     []Stretch // from first to last
	recent      []byte    // the state since change since was decided; nil: there was no dropped copy
	since       uint64
	state       []byte // the whole state
	past        marks
	form        form
	sent        limiter.Instant
	times       int // that it was sent in this form
}

// form is how a remainder is told.
type form uint8

const (
	asChanges form = iota
	asRecent
	asWhole
)

// Of remainders, which may be large, so many go to a node at a time. One goes again after a while
// that doubles: it may be under way on a slow link, or the other does not take it.
const (
	maxRemainders     = 16
	maxRemainderBytes = 4 << 20 // one that is larger goes alone
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
		a.since = f.acked + 1
		a.recent, _ = m.Store.Snapshot(nil, pt.id, f.at-1) // with what was decided then
	}
	a.state, _ = m.Store.Snapshot(nil, pt.id, 0)
	m.endHolding(pt)
	pt.complete, pt.at = true, Position{a.gen, a.last}
	if a.last == 0 && pt.parent.Gen != (Generation{}) {
		// It admitted nothing: all that there is is of its parent, and mostly known.
		a.gen, a.first, a.last, a.form = pt.parent.Gen, 0, pt.parent.Seq, asWhole
	}
	pt.aside = a
	pt.holder = claim{heard: m.now}
	pt.askedLast, pt.decided, pt.pledge = m.now, m.now, pledge{}
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
	if to == "" || to == m.Name || !m.reachable(to) || a.times > 0 && m.now.Sub(a.sent) < a.patience() {
		return
	}
	f, r := m.out.frame(to), a.remainder(pt)
	if n := len(f.Remainders); n >= maxRemainders || n > 0 && sizeOf(f.Remainders)+r.size() > maxRemainderBytes {
		return // the others go with the next tick
	}
	a.sent = m.now
	a.times++
	f.Remainders = append(f.Remainders, *r)
}

// patience returns how long after it was sent last it is to go again.
func (a *aside) patience() time.Duration {
	return min(asideResend<<min(a.times-1, 8), asideResendMost)
}

func sizeOf(remainders []Remainder) (n int) {
	for i := range remainders {
		n += remainders[i].size()
	}
	return n
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
	if a.form == asChanges && a.recent != nil {
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
	}
}
