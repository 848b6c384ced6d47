package ownership

import (
	"slices"
	"sort"
	"time"

	"github.com/overten/sluice/limiter"
)

// holding is what a holder knows beside the state.
//
// It is permitted while every registered copy has pledged, and has all that is older than
// unackedMost; without a registered copy, while one other live node has; alone, from tick to
// tick. With MinMembers above 1 it is never permitted without a registered copy.
type holding struct {
	permit  limiter.Instant
	stopped limiter.Instant // since when it is not permitted; 0: it is
	copies  []*copyOf

	witness   string // whom it asks while no copy is registered
	witnessed limiter.Instant
	asking    limiter.Instant // since when the present witness is asked in vain

	// log has the changes from first to last that some copy may lack.
	log         []Stretch
	first, last uint64
	logBytes    int
	fork        *fork
	// paused: changes are not recorded, as there is no copy and none was dropped lately.
	paused bool

	handoff   *handoff
	noHandoff limiter.Instant // not again before
}

func (h *holding) copyAt(name string) *copyOf {
	for _, c := range h.copies {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (h *holding) registered() (n int) {
	for _, c := range h.copies {
		if c.registered {
			n++
		}
	}
	return n
}

// awaitsRoom tells whether a remainder is to be told, a partition to be handed over, or a copy
// needs a snapshot.
func (pt *part) awaitsRoom() bool {
	return pt.aside != nil || pt.hold != nil && (!pt.owned || slices.ContainsFunc(pt.hold.copies, func(c *copyOf) bool { return c.state == lacking }))
}

// void forgets what others have pledged.
func (h *holding) void() {
	h.witnessed = 0
	for _, c := range h.copies {
		c.pledged = 0
	}
}

// safe returns the last change that every registered copy has.
func (h *holding) safe() uint64 {
	safe := ^uint64(0)
	for _, c := range h.copies {
		if c.registered {
			safe = min(safe, c.acked)
		}
	}
	return safe
}

// oldestUnacked returns when the first change was decided that c lacks, and whether there
// is one.
func (h *holding) oldestUnacked(c *copyOf) (limiter.Instant, bool) {
	if i := h.after(c.acked); i < len(h.log) {
		return h.log[i].Since, true
	}
	return 0, false
}

// after returns the index in log of the first stretch that has changes after seq. Mostly
// few have.
func (h *holding) after(seq uint64) int {
	if seq >= h.last {
		return len(h.log)
	}
	for i := len(h.log); i > len(h.log)-4; i-- {
		if i == 0 || h.log[i-1].Last <= seq {
			return i
		}
	}
	return sort.Search(len(h.log), func(i int) bool { return h.log[i].Last > seq })
}

// begin makes this node the holder, from the state that it has.
func (m *Machine) begin(pt *part, number uint64, parent Position, handed bool) {
	pt.past.add(parent)
	pt.gen, pt.parent, pt.handed = Generation{number, m.Name, m.Boot}, parent, handed
	pt.known = pt.gen
	pt.hold = &holding{stopped: m.now}
	pt.complete, pt.at = false, Position{}
	pt.began, pt.commit, pt.giver = m.now, nil, ""
	if pt.aside != nil && pt.aside.gen == parent.Gen {
		pt.aside = nil // it is part of the state that this begins with
	}
	m.copyOut(pt)
	pt.holder = claim{name: m.Name, gen: pt.gen, heard: m.now}
	pt.pledge = pledge{}
	m.Store.Permit(pt.id, 0)
	m.Store.Record(pt.id, true)
	pt.askNow = true
	m.announce = true
	m.hurry(pt)
	m.touch(pt)
	m.note(pt, "begins %v from %v/%d", pt.gen, parent.Gen, parent.Seq)
}

// permitNow brings a holder's permit up to date.
func (m *Machine) permitNow(pt *part) {
	h := pt.hold
	until := m.permitOf(pt)
	if h.handoff != nil || !m.enough() || pt.closed > m.now {
		until = 0
	}
	m.permit(pt, until)
}

func (m *Machine) permitOf(pt *part) limiter.Instant {
	h := pt.hold
	until, any := h.permit, false // while nobody was asked yet, what there is runs out by itself
	for _, c := range h.copies {
		if !c.registered {
			continue
		}
		may := limiter.Instant(0)
		if c.pledged > 0 {
			may = c.pledged.Add(Failover)
		}
		if since, ok := h.oldestUnacked(c); ok {
			may = min(may, since.Add(unackedMost))
		}
		if !any || may < until {
			until = may
		}
		any = true
	}
	switch {
	case any:
	case m.MinMembers > 1:
		until = 0
	case m.alone():
		until = m.ticked.Add(alonePermit)
	case h.witnessed > 0:
		until = h.witnessed.Add(Failover)
	}
	return until
}

func (m *Machine) permit(pt *part, until limiter.Instant) {
	h := pt.hold
	if h.permit == until {
		return
	}
	was, is := h.permit > m.now, until > m.now
	if was != is {
		m.touch(pt)
		m.announce = true
	}
	switch {
	case is && !was:
		m.resume(pt)
	case !is && h.stopped == 0:
		h.stopped = min(h.permit, m.now)
	}
	h.permit = until
	m.Store.Permit(pt.id, until)
}

// resume lets a holder decide again.
func (m *Machine) resume(pt *part) {
	m.note(pt, "decides, after %v", m.makeGood(pt))
	pt.hold.stopped = 0
}

// makeGood lets leases live longer by how long a holder has not been permitted, as nobody could
// renew them, and returns that.
func (m *Machine) makeGood(pt *part) time.Duration {
	since := pt.hold.stopped
	if since == 0 {
		since = pt.hold.permit // it ran out by itself
	}
	gap := m.now.Sub(since)
	if since > 0 && gap > Beat {
		m.Store.Prolong(pt.id, min(gap, limiter.MaxTTL), m.now)
		m.take(pt)
	}
	return gap
}

// keep does what a holder has to: it looks after its copies and its permit.
func (m *Machine) keep(pt *part) {
	h := pt.hold
	m.take(pt)
	wanted := m.wanted(pt)
	if wanted != "" && h.copyAt(wanted) == nil {
		m.pause(pt, false)
		h.copies = append(h.copies, &copyOf{name: wanted, boot: m.peers[wanted].boot})
		pt.askNow = true
	}
	m.lookAfterCopies(pt, wanted)
	if h.registered() == 0 {
		m.findWitness(pt)
	}
	if pt.askNow {
		pt.askNow = false
		m.ask(pt)
	}
	m.feed(pt)
	m.trim(pt)
	if len(h.copies) == 0 && h.fork == nil {
		m.pause(pt, true)
	}
	m.handOver(pt)
	if pt.hold != nil {
		m.permitNow(pt)
	}
}

// wanted returns who should have the copy: the owner, to hand over to it, or, if this
// node is that, the successor; if neither can be reached, any other node.
func (m *Machine) wanted(pt *part) string {
	for _, name := range [2]string{m.view.Owner(int(pt.id)), m.view.Successor(int(pt.id))} {
		if name != "" && name != m.Name && m.reachable(name) {
			return name
		}
	}
	if m.lastToStay(pt) {
		return ""
	}
	for _, c := range pt.hold.copies {
		if m.reachable(c.name) && !m.isDraining(c.name) {
			return c.name
		}
	}
	members := m.view.Members()
	for i := range members {
		if o := members[(i+int(pt.id))%len(members)]; o.Name != m.Name && !o.Draining && m.reachable(o.Name) {
			return o.Name
		}
	}
	return ""
}

// lookAfterCopies drops the copies that are gone or silent, and lets those leave that are
// no longer wanted.
func (m *Machine) lookAfterCopies(pt *part, wanted string) {
	h := pt.hold
	w := h.copyAt(wanted)
	covered := w != nil && w.registered
	for i := 0; i < len(h.copies); i++ {
		c := h.copies[i]
		p := m.peers[c.name]
		lost := p == nil || p.gone || p.boot != c.boot || !m.heardLately(p)
		switch {
		case lost && !c.registered && c.state >= installing:
			// It may have all of it without having pledged: should it go on by itself, what both
			// know must be told from what each admits.
			m.forget(pt, c)
			i--
		case lost && !c.registered:
			m.landed(c)
			h.copies = append(h.copies[:i], h.copies[i+1:]...)
			i--
		case lost:
			m.standTo(pt, Drop)
		case c.name == wanted:
			c.leaving = false
		case h.handoff != nil:
		case covered || m.isDraining(c.name) && m.lastToStay(pt):
			c.leaving = true
		}
		if c.leaving && !lost && pt.askNow {
			f := m.out.frame(c.name)
			f.Leaves = append(f.Leaves, Leave{pt.id, pt.gen.Number})
		}
	}
}

// lastToStay tells whether all other members are leaving. One that cannot be reached is no
// reason to do without a copy.
func (m *Machine) lastToStay(pt *part) bool {
	return m.view.Owner(int(pt.id)) == m.Name && m.view.Successor(int(pt.id)) == ""
}

func (m *Machine) isDraining(name string) bool {
	member, ok := m.view.Member(name)
	return ok && member.Draining
}

// findWitness chooses whom to ask for a pledge while there is no registered copy: a live
// node, another one if it does not answer.
func (m *Machine) findWitness(pt *part) {
	h := pt.hold
	if h.witness != "" && m.reachable(h.witness) && (m.now.Sub(h.asking) < 3*Beat || m.now.Sub(h.witnessed) < 3*Beat) {
		return
	}
	best := ""
	for name, p := range m.peers { // the next in the order of names, round and round
		if !m.reachable(name) || p.young || name == h.witness {
			continue
		}
		if best == "" || (name > h.witness) != (best > h.witness) && name > h.witness || (name > h.witness) == (best > h.witness) && name < best {
			best = name
		}
	}
	if best != "" {
		h.witness, h.asking, h.witnessed = best, m.now, 0
		pt.askNow = true
	}
}

// ask asks the copies, or the witness, for their pledges.
func (m *Machine) ask(pt *part) {
	h := pt.hold
	a := Ask{Partition: pt.id, Number: pt.gen.Number, Parent: pt.parent, Handed: pt.handed, Copy: true}
	asked := false
	for _, c := range h.copies {
		f := m.out.frame(c.name)
		f.Asks = append(f.Asks, a)
		asked = asked || c.name == h.witness
	}
	if h.registered() == 0 && h.witness != "" && !asked {
		a.Copy = false
		f := m.out.frame(h.witness)
		f.Asks = append(f.Asks, a)
	}
}

// take puts what was decided since the last time into the log.
func (m *Machine) take(pt *part) {
	h := pt.hold
	if ch := m.takeChanges(pt); ch.Last > 0 {
		h.append(Stretch{Changes: ch})
	}
}

// takeChanges takes a partition's changes. Many that come soon after each other share memory,
// which lasts as long as one of them: a dropped copy's log is kept for long, and by itself.
func (m *Machine) takeChanges(pt *part) (ch limiter.Changes) {
	if pt.hold.fork != nil {
		ch, _ = m.Store.TakeInto(nil, pt.id)
		return ch
	}
	const block, enough = 8 << 10, 256
	if cap(m.spare) < enough {
		m.spare = make([]byte, 0, block)
	}
	ch, m.spare = m.Store.TakeInto(m.spare, pt.id)
	m.spare = m.spare[len(m.spare):]
	return ch
}

// pause stops the recording of changes, or goes on with it. What changes in a pause has one
// number, which nobody else can have: whoever has less gets a snapshot.
func (m *Machine) pause(pt *part, on bool) {
	h := pt.hold
	if h.paused == on {
		return
	}
	h.paused = on
	h.last = m.Store.Pause(pt.id, on)
	h.log, h.logBytes, h.first = nil, 0, h.last+1
}

func (h *holding) append(l Stretch) {
	if len(h.log) == 0 {
		h.first = l.First
	}
	h.log = append(h.log, l)
	h.last = l.Last
	h.logBytes += l.size()
}
