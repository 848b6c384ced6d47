package ownership

import "github.com/overten/sluice/limiter"

// pledge is this node's word, to one node at a time, that it may decide for a partition.
// It binds until the later of two instants: one from the last answer to a holder that
// asked, one from a vote in a round that was not withdrawn.
type pledge struct {
	to    string
	boot  uint64
	gen   Generation // of the holder that asked last; none: of one that we gave the partition, and who has not asked
	asked limiter.Instant
	voted limiter.Instant
	round uint64
}

func (p *pledge) until() limiter.Instant { return max(p.asked, p.voted) }

// serves tells whether the pledge was given for a holding.
func (p *pledge) serves(g Generation) bool {
	return p.gen == g || p.gen == (Generation{}) && p.to == g.Name && p.boot == g.Boot
}

// free tells whether this node may pledge to another: it is bound to nobody else.
func (m *Machine) free(pt *part, to string, boot uint64) bool {
	p := &pt.pledge
	return !m.young() && (p.to == "" || p.to == to && p.boot == boot || p.until() <= m.now || !m.sameLife(p.to, p.boot))
}

// bind makes pt's pledge one to the given node, and returns it.
func (pt *part) bind(to string, boot uint64) *pledge {
	if pt.pledge.to != to || pt.pledge.boot != boot {
		pt.pledge = pledge{to: to, boot: boot}
	}
	return &pt.pledge
}

// asked answers a holder that asks for a pledge.
func (m *Machine) asked(p *peer, stamp limiter.Instant, a *Ask) {
	pt := &m.parts[a.Partition]
	g := Generation{a.Number, p.name, p.boot}
	m.heardHolder(pt, p, g, pt.holder.name == p.name && pt.holder.permitted)
	if a.Handed && !pt.known.After(g) && pt.pledge.serves(a.Parent.Gen) {
		pt.pledge = pledge{} // who had it has given the partition up
	}
	if a.Copy && pt.hold == nil && pt.round == nil && pt.complete && pt.at.Gen != g && pt.at == a.Parent {
		if pt.aside != nil && pt.aside.state == nil && !pt.known.After(g) {
			pt.aside = nil // the latest holder began with all that this state has, and it has not changed since
		}
		m.copyOut(pt)
		pt.past.add(pt.at)
		pt.at = Position{Gen: g}
	}
	answer := Pledge{Partition: pt.id, Asked: stamp, Number: a.Number, Known: pt.known}
	if pt.hold == nil && pt.complete && pt.at.Gen == g {
		answer.Complete, answer.Seq = true, pt.at.Seq
		if a.Copy {
			pt.askedLast = m.now
			if pt.holder.name != p.name || pt.holder.permitted {
				pt.decided = m.now
			}
		}
	}
	if answer.Given = m.view != nil && pt.hold == nil && pt.round == nil && !m.hears(pt, p.name) && m.free(pt, p.name, p.boot) && !pt.known.After(g); answer.Given {
		pl := pt.bind(p.name, p.boot)
		pl.gen, pl.asked = g, m.now.Add(Binding)
	} else {
		m.note(pt, "does not pledge to %v, known %v, pledged to %s, young %v", g, pt.known, pt.pledge.to, m.young())
	}
	f := m.out.frame(p.name)
	f.Pledges = append(f.Pledges, answer)
}

// pledged takes the answer to an Ask.
func (m *Machine) pledged(p *peer, a *Pledge) {
	pt := &m.parts[a.Partition]
	m.learn(pt, a.Known)
	h := pt.hold
	if h == nil || a.Number != pt.gen.Number || a.Asked > m.now {
		return
	}
	if h.witness == p.name && a.Given {
		h.witnessed = max(h.witnessed, a.Asked)
	}
	if h.witness == p.name && !a.Given {
		h.witness = ""
	}
	if c := h.copyAt(p.name); c != nil && c.boot == p.boot {
		m.copyAnswered(pt, c, a)
	}
	m.permitNow(pt)
}
