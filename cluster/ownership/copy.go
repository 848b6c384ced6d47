package ownership

import (
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// Bounds on what is under way to a copy.
const (
	maxFlight   = 4 << 20         // bytes of snapshots to one node,
	maxFlights  = 16              // and how many: so that none holds up what is urgent for long
	resendAfter = 2 * Beat        // without an acknowledgement
	installMost = 2 * time.Second // beside what the snapshot takes on a link that carries leastPace
	leastPace   = 4 << 20         // bytes a second
	rewindPause = 20 * time.Millisecond
	ackPause    = 20 * time.Millisecond // between acknowledgements that nobody waits for: far below unackedMost
)

// copyOf is what a holder knows of one copy.
//
// It is registered from the first pledge that it gave with a complete copy until it has
// left, says itself that it has none, or was dropped in a round. While it is registered
// the holder decides only with its pledge.
type copyOf struct {
	name       string
	boot       uint64
	registered bool
	leaving    bool
	pledged    limiter.Instant // when the ask was sent that it answered with a pledge

	state    copyState
	sent     uint64          // the last change that was sent; from installing on
	acked    uint64          // the last change that it has
	progress limiter.Instant // when it last acknowledged something, or was sent something having all
	rewound  limiter.Instant
	flight   int // bytes of the snapshot under way
}

// copyState is what the holder knows of a copy's state.
type copyState uint8

const (
	asking     copyState = iota // nothing: an answer will tell
	lacking                     // it needs a snapshot
	installing                  // a snapshot is under way, and changes behind it
	following                   // it has all up to acked
)

// lostTrack forgets what is known of a copy's state.
func (m *Machine) lostTrack(c *copyOf) {
	m.landed(c)
	c.state = asking
}

// landed ends the flight of a copy's snapshot.
func (m *Machine) landed(c *copyOf) {
	if p := m.peers[c.name]; p != nil && p.boot == c.boot {
		p.flight -= c.flight
		if c.flight > 0 {
			p.flights--
		}
	}
	c.flight = 0
}

// covers tells whether the log has all that follows change seq.
func (h *holding) covers(seq uint64) bool {
	return seq == h.last || len(h.log) > 0 && seq+1 >= h.first && seq <= h.last
}

// copyAnswered takes a copy's answer to an ask: what it has, and its pledge.
func (m *Machine) copyAnswered(pt *part, c *copyOf, a *Pledge) {
	h := pt.hold
	switch {
	case c.state == asking && a.Complete && h.covers(a.Seq):
		c.state, c.sent, c.acked, c.progress = following, a.Seq, a.Seq, m.now
		if c.registered {
			m.progress(pt)
		}
	case c.state == asking:
		c.state = lacking
	case c.state == installing:
		return
	case a.Complete:
		m.advance(pt, c, a.Seq)
	case a.Asked > c.progress:
		c.state = lacking
	}
	if !a.Complete && c.registered && c.state == lacking {
		c.registered = false // it says itself that it has nothing to stand with
		m.hurry(pt)
		m.touch(pt)
	}
	if a.Given && a.Complete && c.state == following {
		c.pledged = max(c.pledged, a.Asked)
		if !c.registered && !c.leaving {
			m.note(pt, "has a copy at %s", c.name)
			c.registered = true
			m.hurry(pt)
			m.touch(pt)
		}
	}
	m.feed(pt)
}

// advance notes how far a copy has come.
func (m *Machine) advance(pt *part, c *copyOf, seq uint64) {
	if seq < c.acked || seq == c.acked && c.sent > seq || seq > pt.hold.last {
		return
	}
	c.progress = m.now
	if seq == c.acked {
		return
	}
	c.acked = seq
	c.sent = max(c.sent, seq)
	if c.registered {
		m.progress(pt)
	}
	if pt.hold.handoff != nil {
		m.hurry(pt)
	}
}

// acked takes a copy's acknowledgement.
func (m *Machine) acked(p *peer, a *Ack) {
	pt := &m.parts[a.Partition]
	h := pt.hold
	if h == nil {
		return
	}
	c := h.copyAt(p.name)
	if c == nil || c.boot != p.boot {
		return
	}
	same := a.At.Gen == pt.gen
	switch {
	case c.state == installing && same && a.At.Seq >= c.acked:
		m.landed(c)
		c.state, c.progress = following, m.now
		pt.askNow = true
		m.hurry(pt)
		m.room = true // for another snapshot
		m.advance(pt, c, a.At.Seq)
	case c.state != following:
	case !same && a.Gap:
		c.state = asking
	case same && a.Gap && m.now.Sub(c.rewound) > rewindPause:
		m.advance(pt, c, a.At.Seq)
		m.rewind(pt, c)
	case same:
		m.advance(pt, c, a.At.Seq)
	}
	m.feed(pt)
	m.permitNow(pt)
}

// rewind sends a copy again what it has not acknowledged.
func (m *Machine) rewind(pt *part, c *copyOf) {
	c.rewound, c.progress = m.now, m.now
	if pt.hold.covers(c.acked) {
		c.sent = c.acked
	} else {
		c.state = lacking
	}
}

// feed sends each copy what it lacks, until it has left: it may be the one that goes on.
func (m *Machine) feed(pt *part) {
	for _, c := range pt.hold.copies {
		p := m.peers[c.name]
		if p == nil || p.gone || p.boot != c.boot || c.leaving && !c.registered {
			continue
		}
		if c.state == installing && m.now.Sub(c.progress) > installMost+time.Duration(c.flight)*time.Second/leastPace {
			m.lostTrack(c)
		}
		if c.state == following && c.acked < c.sent && m.now.Sub(c.progress) > resendAfter {
			m.rewind(pt, c)
		}
		switch {
		case c.state >= installing:
			m.sendDeltas(pt, c)
		case c.state == lacking && !c.leaving && p.flight < maxFlight && p.flights < maxFlights:
			m.sendSnapshot(pt, c, p)
		}
	}
}

func (m *Machine) sendDeltas(pt *part, c *copyOf) {
	h := pt.hold
	if c.sent >= h.last {
		return
	}
	if c.sent == c.acked {
		c.progress = m.now
	}
	out := m.out.copying(c.name)
	out.Patient = out.Patient && m.patient
	for _, l := range h.log[h.after(c.sent):] {
		out.Deltas = append(out.Deltas, Delta{pt.id, pt.gen.Number, l.Changes, l.Mark})
	}
	c.sent = h.last
}

func (m *Machine) sendSnapshot(pt *part, c *copyOf, p *peer) {
	state, at := m.Store.Snapshot(nil, pt.id, 0)
	m.take(pt) // after the snapshot, as calls go on meanwhile: the log must reach as far
	out := m.out.copying(c.name)
	out.Patient = false
	out.Snapshots = append(out.Snapshots, Snapshot{
		Partition: pt.id, At: Position{pt.gen, at}, Past: append([]Position(nil), pt.past...), State: state, Closed: max(pt.closed.Sub(m.now), 0),
	})
	c.state, c.sent, c.acked, c.progress = installing, at, at, m.now
	c.flight = len(state) + 64
	p.flight += c.flight
	p.flights++
}

// The copy's side.

// installed takes a snapshot.
func (m *Machine) installed(p *peer, s *Snapshot) {
	pt := &m.parts[s.Partition]
	g := s.At.Gen
	if pt.hold != nil || pt.round != nil || pt.complete && pt.at.Gen.After(g) || pt.complete && pt.at.Gen == g && pt.at.Seq > s.At.Seq {
		return
	}
	m.copyOut(pt)
	if err := m.Store.Install(pt.id, s.State, p.shift.value(), m.now); err != nil {
		m.reject(pt, p.name, err)
		return
	}
	pt.complete, pt.at = true, s.At
	pt.past = append(marks(nil), s.Past...)
	pt.closed = 0
	if s.Closed > 0 {
		pt.closed = m.now.Add(min(s.Closed, m.Horizon))
	}
	m.learn(pt, g)
	pt.askedLast, pt.decided = m.now, m.now
	m.ack(p, pt, false)
}

// follow takes changes, some at a time: while some are applied, memory for the next is on its way.
func (m *Machine) follow(p *peer, deltas []Delta) {
	const some = 16
	of := func(d *Delta) limiter.PartitionID { return d.Partition }
	expect := func(d *Delta) { m.Store.ExpectChanges(d.Partition, d.Changes.Bytes) }
	each(m, deltas[:min(some, len(deltas))], of, expect)
	for len(deltas) > 0 {
		now, next := deltas[:min(some, len(deltas))], deltas[min(some, len(deltas)):]
		each(m, next[:min(some, len(next))], of, expect)
		each(m, now, of, func(d *Delta) { m.followed(p, d) })
		deltas = next
	}
}

// followed takes changes.
func (m *Machine) followed(p *peer, d *Delta) {
	pt := &m.parts[d.Partition]
	g := Generation{d.Number, p.name, p.boot}
	if pt.hold != nil || !pt.complete || pt.at.Gen != g || d.Changes.First > pt.at.Seq+1 {
		if pt.hold == nil {
			m.ack(p, pt, true)
		}
		return
	}
	if d.Changes.Last > pt.at.Seq {
		if err := m.Store.ApplyFrom(pt.id, d.Changes.Bytes, d.Changes.First, pt.at.Seq+1, p.shift.value(), m.now); err != nil {
			m.reject(pt, p.name, err)
			pt.complete = false
			m.ack(p, pt, true)
			return
		}
		pt.at.Seq = d.Changes.Last
		if pt.past.add(d.Mark); d.Mark == (Position{}) {
			pt.decided = m.now // or its leases last so much longer
		}
	}
	m.ack(p, pt, false)
}

// reject tells that the store did not take what a node sent.
func (m *Machine) reject(pt *part, from string, err error) {
	if m.Rejected != nil {
		m.Rejected(pt.id, from, err)
	}
}

// ack acknowledges what a copy has come to, at once if something is missing or somebody waits.
func (m *Machine) ack(p *peer, pt *part, gap bool) {
	if gap {
		a := Ack{Partition: pt.id, Gap: true}
		if pt.complete {
			a.At = pt.at
		}
		out := m.out.copying(p.name)
		out.Acks = append(out.Acks, a)
		return
	}
	p.owe(pt.id)
}

// settleUp has a peer told at once what it is owed.
func (m *Machine) settleUp(p *peer) {
	if len(p.owed) > 0 {
		p.due = true
		m.out.copying(p.name)
	}
}

// acknowledge puts the acknowledgements that a peer is owed into a copying to it, unless it was
// told some a moment ago and nobody waits: so those of hits that nobody waits for cost no message
// of their own, and under load one is for many.
func (m *Machine) acknowledge(p *peer, c *Copying) {
	if p == nil || len(p.owed) == 0 || !p.due && m.now.Sub(p.told) < ackPause {
		return
	}
	p.due, p.told = false, m.now
	c.Acks = slices.Grow(c.Acks, len(p.owed))
	for _, id := range p.owed {
		if pt := &m.parts[id]; pt.complete {
			c.Acks = append(c.Acks, Ack{Partition: id, At: pt.at})
		}
	}
	p.settled()
}

// leave takes that the holder no longer needs this copy.
func (m *Machine) leave(p *peer, l *Leave) {
	pt := &m.parts[l.Partition]
	g := Generation{l.Number, p.name, p.boot}
	if pt.hold != nil || pt.round != nil || pt.complete && pt.at.Gen.After(g) {
		return
	}
	m.discard(pt)
	f := m.out.frame(p.name)
	f.Lefts = append(f.Lefts, Left{pt.id, l.Number})
}

// discard forgets a copy.
func (m *Machine) discard(pt *part) {
	if pt.complete || pt.at != (Position{}) {
		m.copyOut(pt)
		m.Store.Clear(pt.id)
	}
	pt.complete, pt.at, pt.past, pt.commit, pt.closed = false, Position{}, nil, nil, 0
	m.touch(pt)
}

// left takes that a copy is gone.
func (m *Machine) left(p *peer, l *Left) {
	pt := &m.parts[l.Partition]
	h := pt.hold
	if h == nil || l.Number != pt.gen.Number {
		return
	}
	for i, c := range h.copies {
		if c.name != p.name || c.boot != p.boot {
			continue
		}
		m.lostTrack(c)
		c.registered, c.pledged = false, 0
		if c.leaving {
			h.copies = append(h.copies[:i], h.copies[i+1:]...)
		}
		m.hurry(pt)
		m.touch(pt)
		return
	}
}
