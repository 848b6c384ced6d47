package ownership

import (
	"math"
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// handoff is a holder that has frozen the partition, to give it to the owner.
type handoff struct {
	to    string
	boot  uint64
	began limiter.Instant
}

// committed is a holder's memory of having given the partition up, until it hears that
// the receiver holds: the commit may be lost.
type committed struct {
	to     string
	boot   uint64
	at     Position
	copies []string
	pledge limiter.Instant // when their pledges were asked for, by the receiver's clock
	began  limiter.Instant
	sent   limiter.Instant
	heard  bool
}

// maxHandoffs bounds how many partitions are being handed over at a time, so that none waits
// for long until its new holder decides.
const maxHandoffs = 8

// returnAfter is how long a partition is not given back to who gave it.
const returnAfter = time.Second

// countUnderWay counts the partitions that are being handed over, which are frozen, or were given
// up lately and nobody was heard to hold them; and the bytes of remainders under way to each node.
func (m *Machine) countUnderWay() {
	m.frozen = 0
	for _, p := range m.peers {
		p.remainders, p.crowded, p.fewest = 0, false, math.MaxInt
	}
	for i := range m.parts {
		pt := &m.parts[i]
		m.countRemainder(pt)
		if pt.hold != nil && pt.hold.handoff != nil || pt.commit != nil && !pt.commit.heard && m.now.Sub(pt.commit.began) < handoffMost {
			m.frozen++
		}
	}
}

// handOver gives a partition to its owner when the owner has a copy: it freezes it, sends
// what is left, and commits when every copy has all.
func (m *Machine) handOver(pt *part) {
	h := pt.hold
	owner := m.view.Owner(int(pt.id))
	if m.isDraining(m.Name) && !m.reachable(owner) {
		owner = m.wanted(pt) // who is to have it next is better than nobody
	}
	if h.handoff == nil {
		c := h.copyAt(owner)
		if m.returns(pt, owner) {
			return
		}
		if owner == m.Name || c == nil || !c.registered || c.state != following || !m.mayGive(pt) || m.frozen >= maxHandoffs || m.now < h.noHandoff {
			return
		}
		m.frozen++
		h.handoff = &handoff{to: c.name, boot: c.boot, began: m.now}
		m.note(pt, "freezes, to give it to %s", c.name)
		if h.permit <= m.now {
			m.makeGood(pt)
			h.stopped = m.now
		}
		m.permit(pt, 0)
		m.take(pt)
		m.feed(pt)
		m.Prompt(pt.id)
		m.touch(pt)
	}
	c := h.copyAt(h.handoff.to)
	if owner != h.handoff.to || c == nil || c.boot != h.handoff.boot || !c.registered || m.now.Sub(h.handoff.began) > handoffMost {
		m.cancelHandoff(pt)
		return
	}
	copies := []string{m.Name}
	for _, c := range h.copies {
		if c.registered && (c.state != following || c.acked < h.last) {
			return
		}
		if c.registered && c.name != owner {
			copies = append(copies, c.name)
		}
	}
	m.giveUp(pt, copies)
}

// mayGive tells whether a holder is permitted, or is not for a reason that goes along with the
// partition: that there are too few members, or that it may not be decided yet.
func (m *Machine) mayGive(pt *part) bool {
	return pt.hold.permit > m.now || !m.enough() || pt.closed > m.now && m.permitOf(pt) > m.now
}

// returns tells whether giving a partition to a node would be giving it back: that node knows
// of a newer view, or will soon learn of the one that we go by.
func (m *Machine) returns(pt *part, to string) bool {
	p := m.peers[to]
	return p != nil && p.leaves || to == pt.giver && m.now.Sub(pt.given) < returnAfter && !m.isDraining(m.Name)
}

// cancelHandoff lets the holder go on.
func (m *Machine) cancelHandoff(pt *part) {
	m.note(pt, "goes on with %v, not given to %s", pt.gen, pt.hold.handoff.to)
	pt.hold.handoff = nil
	pt.hold.noHandoff = m.now.Add(resend)
	m.touch(pt)
}

// giveUp ends the holding for good: the node becomes one of the owner's copies.
func (m *Machine) giveUp(pt *part, copies []string) {
	h := pt.hold
	at := Position{pt.gen, h.last}
	pt.commit = &committed{to: h.handoff.to, boot: h.handoff.boot, at: at, copies: copies, pledge: m.passOn(h), began: m.now}
	m.endHolding(pt)
	pt.complete, pt.at = true, at
	pt.holder = claim{heard: m.now}
	pt.askedLast, pt.decided, pt.pledge = m.now, m.now, pledge{}
	pt.bind(pt.commit.to, pt.commit.boot).asked = m.now.Add(Binding)
	m.announce = true
	m.note(pt, "gives %v at %d to %s, copies at %v", pt.gen, at.Seq, pt.commit.to, copies)
	m.sendCommit(pt)
}

// passOn returns from when on, by the clock of the receiver of a handoff, the pledges of the
// copies hold for it: this node's own, which it gives with the commit, and those that it was
// given by others. They bind these for as long as before, and this node does not use them any
// more. What was heard of the receiver last was sent before it was heard: so an instant of
// this node's clock is not told as one that is too late.
func (m *Machine) passOn(h *holding) limiter.Instant {
	p := m.peers[h.handoff.to]
	if p == nil || p.heard == 0 {
		return 0
	}
	pledged := p.heard
	for _, c := range h.copies {
		if c.registered && c.name != h.handoff.to {
			pledged = min(pledged, c.pledged)
		}
	}
	if pledged == 0 {
		return 0
	}
	return p.stamp.Add(pledged.Sub(p.heard))
}

// endHolding forgets what only a holder knows.
func (m *Machine) endHolding(pt *part) {
	h := pt.hold
	for _, c := range h.copies {
		m.landed(c)
	}
	if pt.round != nil {
		m.withdraw(pt)
	}
	m.permit(pt, 0)
	m.Store.Record(pt.id, false)
	pt.hold = nil
	m.touch(pt)
}

func (m *Machine) sendCommit(pt *part) {
	c := pt.commit
	c.sent = m.now
	f := m.out.frame(c.to)
	f.Commits = append(f.Commits, Commit{pt.id, c.at, c.copies, c.pledge})
}

// handed takes a partition that its holder gives to this node.
func (m *Machine) handed(p *peer, c *Commit) {
	pt := &m.parts[c.Partition]
	if pt.hold != nil || pt.round != nil || !pt.complete || pt.at != c.At || c.At.Gen.Name != p.name || c.At.Gen.Boot != p.boot {
		return
	}
	if pl := &pt.pledge; pl.to != p.name && pl.until() > m.now && m.sameLife(pl.to, pl.boot) {
		return
	}
	m.begin(pt, pt.known.Number+1, c.At, true)
	pt.giver, pt.given = p.name, m.now
	for _, name := range c.Copies {
		if name == m.Name || m.peers[name] == nil {
			continue
		}
		pt.hold.copies = append(pt.hold.copies, &copyOf{
			name: name, boot: m.peers[name].boot, registered: true, state: following, progress: m.now, pledged: min(c.Pledged, m.now),
		})
	}
}

// remind sends again what was not heard of: a commit, and a remainder.
func (m *Machine) remind(pt *part) {
	if c := pt.commit; c != nil {
		switch {
		case c.heard || !m.sameLife(c.to, c.boot):
			if pt.at.Gen != c.at.Gen {
				pt.commit = nil
			}
		case m.now.Sub(c.sent) >= resend && pt.complete && pt.at == c.at && pt.round == nil:
			m.sendCommit(pt)
		}
	}
	if pt.aside != nil {
		m.sendAside(pt)
	}
}

// Holds tells what the node has: partitions held and not, copies, for a drain to wait on.
func (m *Machine) Holds() (held, copies int) {
	for i := range m.parts {
		pt := &m.parts[i]
		switch {
		case pt.hold != nil:
			held++
		case pt.complete:
			copies++
		}
	}
	return held, copies
}

// Unsettled tells whether a former holding's remainder has not been taken yet.
func (m *Machine) Unsettled() bool {
	return slices.ContainsFunc(m.parts, func(pt part) bool { return pt.aside != nil })
}
