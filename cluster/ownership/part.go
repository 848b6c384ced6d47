package ownership

import (
	"slices"

	"github.com/overten/sluice/limiter"
)

// part is what the machine knows of one partition.
//
// A node holds it (hold), has a copy of it (complete: all of at and of past), or neither.
// It may stand for it in a round, and have a remainder of an earlier holding that the
// present holder lacks, beside any of these.
type part struct {
	// What a change of a copy needs is together, as memory comes by the line.
	id       limiter.PartitionID
	complete bool // there is a copy, up to at
	touched  bool
	safer    bool     // its Route's Safe may have grown
	hurried  bool     // it is among those that go on with this step
	askNow   bool     // the next evaluation asks for pledges
	owned    bool     // the view gives it to this node
	at       Position // of a copy
	hold     *holding
	decided  limiter.Instant // when the holder of this copy may have decided last, as far as is known

	gen    Generation      // while it is held: the holding's
	parent Position        // where gen began
	handed bool            // the parent's holder gave it up
	past   marks           // what the state has of generations before gen or at.Gen
	since  limiter.Instant // of the view, or of waking: before that, silence says nothing

	closed limiter.Instant // not to be decided before, as what the state lacks was lost

	began limiter.Instant // when this node's last holding did
	giver string          // who handed the present holding over,
	given limiter.Instant // and when

	holder claim      // the latest holder heard of
	known  Generation // the latest generation heard of
	pledge pledge
	round  *round
	commit *committed
	aside  *aside

	standAfter limiter.Instant // the pause after a round that failed
	askedLast  limiter.Instant // when a holder last asked for this copy
}

// claim is what was heard of a holder.
type claim struct {
	name      string // "": nobody is known
	gen       Generation
	permitted bool
	heard     limiter.Instant // when anybody last said that it holds
}

// A Route says where a partition is decided, as far as this node knows.
type Route struct {
	Holder string // "": not known
	Held   bool   // by this node
	Gen    Generation
	Until  limiter.Instant // while Held: permitted until then
	Began  limiter.Instant // when this node's last holding did, ended or not
	// While Held, changes up to Safe of the generation are in every registered copy. If
	// the node's last holding was handed over, with all its changes, Done is its number.
	Safe uint64
	Done uint64
}

// Route returns the route of a partition.
func (m *Machine) Route(p limiter.PartitionID) Route {
	pt := &m.parts[p]
	r := Route{Holder: pt.holder.name, Gen: pt.holder.gen, Began: pt.began}
	if pt.commit != nil {
		r.Done = pt.commit.at.Gen.Number
	}
	if h := pt.hold; h != nil {
		r.Holder, r.Held, r.Gen, r.Until, r.Safe = m.Name, true, pt.gen, h.permit, h.safe()
		return r
	}
	if r.Holder == "" && pt.commit != nil {
		r.Holder = pt.commit.to
	}
	return r
}

// Copies returns the nodes with a registered copy of a partition that this node holds.
func (m *Machine) Copies(p limiter.PartitionID) []string {
	var names []string
	if h := m.parts[p].hold; h != nil {
		for _, c := range h.copies {
			if c.registered {
				names = append(names, c.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Leaving tells whether a copy of a partition that this node holds was told to leave.
func (m *Machine) Leaving(p limiter.PartitionID, copyAt string) bool {
	h := m.parts[p].hold
	if h == nil {
		return false
	}
	c := h.copyAt(copyAt)
	return c != nil && c.leaving
}

// Touched calls each for every partition whose Route may have changed since the last call in
// more than Safe.
func (m *Machine) Touched(each func(limiter.PartitionID)) {
	for _, id := range m.touched {
		m.parts[id].touched = false
		each(id)
	}
	m.touched = m.touched[:0]
}

// Safer calls each for every partition of whose Route Safe may have grown since the last call,
// which is after every hit.
func (m *Machine) Safer(each func(limiter.PartitionID)) {
	for _, id := range m.safer {
		m.parts[id].safer = false
		each(id)
	}
	m.safer = m.safer[:0]
}

// learn notes a generation that was heard of. A holder of an earlier one ends its holding.
func (m *Machine) learn(pt *part, g Generation) {
	if g.After(pt.known) {
		pt.known = g
	}
	if pt.hold != nil && pt.known.After(pt.gen) {
		m.yield(pt)
	}
}

// hears tells whether a node other than the given one was lately heard to hold.
func (m *Machine) hears(pt *part, but string) bool {
	return pt.holder.name != "" && pt.holder.name != but && pt.holder.permitted &&
		m.now.Sub(pt.holder.heard) < Failover && m.sameLife(pt.holder.name, pt.holder.gen.Boot)
}

// tell lets a holder know at once that there is a later one: the two may not know each other.
func (m *Machine) tell(pt *part, c claim) {
	if pt.known.After(c.gen) && m.reachable(c.name) {
		f := m.out.frame(c.name)
		f.Pledges = append(f.Pledges, Pledge{Partition: pt.id, Number: c.gen.Number, Known: pt.known})
	}
}

// heartbeatFrom takes what a peer says that it holds.
func (m *Machine) heartbeatFrom(p *peer, h *Heartbeat) {
	if p.young && !h.Young {
		m.urgent = true
	}
	p.young, p.leaves = h.Young, h.Draining
	i := 0
	for _, old := range p.held { // both are in order of partitions
		for i < len(h.Held) && h.Held[i].Partition < old.Partition {
			i++
		}
		if i < len(h.Held) && h.Held[i].Partition == old.Partition {
			continue
		}
		if int(old.Partition) < len(m.parts) {
			if pt := &m.parts[old.Partition]; pt.holder.name == p.name {
				pt.holder.name = ""
				m.touch(pt)
			}
		}
	}
	p.held = append(p.held[:0], h.Held...)
	for _, held := range h.Held {
		if int(held.Partition) < len(m.parts) {
			m.heardHolder(&m.parts[held.Partition], p, Generation{held.Number, p.name, p.boot}, held.Permitted)
		}
	}
}

// heardHolder takes that a peer holds a partition.
func (m *Machine) heardHolder(pt *part, p *peer, g Generation, permitted bool) {
	m.learn(pt, g)
	if pt.hold != nil {
		m.tell(pt, claim{name: p.name, gen: g})
		return
	}
	c := &pt.holder
	if c.name != "" && c.name != p.name {
		m.tell(pt, *c)
	}
	other := c.name != "" && c.name != p.name && c.gen.After(g)
	if other && m.now.Sub(c.heard) < Binding && m.sameLife(c.name, c.gen.Boot) {
		return // an earlier holder that has not heard of the later
	}
	if c.name != p.name || c.gen != g {
		m.touch(pt)
		m.hurry(pt)
	}
	*c = claim{name: p.name, gen: g, permitted: permitted, heard: m.now}
	if pt.commit != nil && g.After(pt.commit.at.Gen) && !pt.commit.heard {
		pt.commit.heard = true
		m.room = true // for the next to be handed over
	}
	if pt.round != nil && g.After(pt.round.at.Gen) && permitted {
		m.withdraw(pt)
	}
}
