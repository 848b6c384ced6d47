package ownership

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// The protocol's times.
const (
	// Failover is how long a permit lasts from the asking, and a silence until a holder or
	// a copy is given up.
	Failover = 500 * time.Millisecond
	// Binding is how long a pledge binds from the answering, and how long a copy waits
	// before it stands: longer than any permit that the pledge gave.
	Binding = Failover + 50*time.Millisecond
	// Beat is the time between two heartbeats, and between two requests for a pledge.
	Beat = 100 * time.Millisecond
	// TickEvery is how often Tick is to be called.
	TickEvery = 50 * time.Millisecond

	stall       = Failover / 2    // between two ticks: more than this, and we were paused
	alonePermit = Failover / 2    // what a lone node's tick permits
	holdViews   = 2 * time.Second // after a stall: what gossip then says is old
	muteAfter   = 5 * time.Second // a member that only gossip hears
	resend      = 2 * Beat
	beginAfter  = Binding + 150*time.Millisecond // an owner's patience with holders and copies
	handoffMost = 200 * time.Millisecond         // from freezing on: then the holder goes on
	unackedMost = 200 * time.Millisecond         // age of a change that a registered copy lacks: then the holder waits
	roundPause  = 50 * time.Millisecond          // at least, and at most twice more, between rounds
	buryAfter   = time.Minute
)

// A Store keeps the state of partitions: a limiter.Table.
type Store interface {
	Permit(p limiter.PartitionID, until limiter.Instant) (last uint64)
	Record(p limiter.PartitionID, on bool)
	Pause(p limiter.PartitionID, on bool) (last uint64)
	TakeInto(buf []byte, p limiter.PartitionID) (limiter.Changes, []byte)
	Dirty(dst []limiter.PartitionID) []limiter.PartitionID
	Snapshot(dst []byte, p limiter.PartitionID, since limiter.Instant) ([]byte, uint64)
	Install(p limiter.PartitionID, snapshot []byte, shift time.Duration, now limiter.Instant) error
	ApplyFrom(p limiter.PartitionID, changes []byte, from, first uint64, shift time.Duration, now limiter.Instant) error
	ExpectChanges(p limiter.PartitionID, changes []byte)
	Merge(p limiter.PartitionID, other []limiter.Piece, shift time.Duration, now limiter.Instant) error
	Clear(p limiter.PartitionID)
	Doubt(p limiter.PartitionID, e limiter.Exactness, since limiter.Instant, half bool)
	Prolong(p limiter.PartitionID, d time.Duration, now limiter.Instant)
}

// Lost says how a partition is answered for whose state was lost with its holder and its
// copy, for as long as what was lost would have counted.
type Lost uint8

const (
	LostOpen   Lost = iota // from nothing, degraded
	LostHalf               // from nothing with half the limits, degraded
	LostClosed             // not at all
)

// Config says who the machine is for.
type Config struct {
	Name       string // of this node
	Boot       uint64 // of this node: higher than that of any earlier life
	Partitions int
	Store      Store
	Rand       *rand.Rand
	Horizon    time.Duration // the longest window of any tier
	// With fewer members in view the node decides nothing. More than 1 says that the limit
	// matters more than answers: then a holder without a copy decides nothing either, and what
	// it allows is to be told only once every registered copy has it (Route.Safe).
	MinMembers int
	Lost       Lost
	Start      limiter.Instant // now
	// EmptyFrame and EmptyCopying, if not nil, return empty ones, of those that were sent and Reset.
	EmptyFrame   func() *Frame
	EmptyCopying func() *Copying
	// Note, if not nil, is told of every turn that a partition takes, for logs and traces.
	Note func(p limiter.PartitionID, what string)
	// Rejected, if not nil, is told what of a node's the Store did not take, each time: it comes
	// again, and without an end if it stays so.
	Rejected func(p limiter.PartitionID, from string, err error)
}

// A Machine is what one node knows and says of who may decide. It is not safe for
// concurrent use. What happens is told it with the present instant; what it has to say
// (Letters, Touched, Safer) is to be fetched after that, and Prompt called before. The other
// methods only look.
type Machine struct {
	Config
	view      *ring.View      // nil until the node has joined
	next      *ring.View      // a view that is held back
	nextSince limiter.Instant // since when one is
	peers     map[string]*peer
	parts     []part

	now       limiter.Instant
	ticked    limiter.Instant
	beaten    limiter.Instant // when the last heartbeat went out
	held      int             // how many partitions that told
	woken     limiter.Instant // when the node was last found to have been paused
	viewsFrom limiter.Instant // views are held back until then
	aloneFrom limiter.Instant // not before this may the node believe itself alone
	rounds    uint64          // the number of the last one
	ended     RoundCounts     // how they ended
	lost      uint64          // times that it began with nothing where there was something
	frozen    int             // partitions that are being handed over, by the last count

	urgent   bool    // what was learned may let any partition go on
	room     bool    // another may be handed over, or another snapshot or remainder be sent
	hurried  []*part // those of which something was learned
	announce bool    // the others should know at once what we hold
	out      outbox
	patient  bool                  // what is done now nobody waits for
	touched  []limiter.PartitionID // whose Route changed
	safer    []limiter.PartitionID // of whose Route Safe has
	dirty    []limiter.PartitionID // scratch
	spare    []byte                // memory for changes to come
}

// New returns the machine of a node that has not joined yet.
func New(c Config) *Machine {
	m := &Machine{Config: c, peers: make(map[string]*peer), parts: make([]part, c.Partitions), now: c.Start}
	m.ticked, m.aloneFrom = c.Start, c.Start
	for i := range m.parts {
		m.parts[i].id = limiter.PartitionID(i)
	}
	m.out.to, m.out.emptyFrame, m.out.emptyCopying = make(map[string]*Letters), c.EmptyFrame, c.EmptyCopying
	if c.EmptyFrame == nil {
		m.out.emptyFrame = func() *Frame { return new(Frame) }
	}
	if c.EmptyCopying == nil {
		m.out.emptyCopying = func() *Copying { return new(Copying) }
	}
	return m
}

// SetView takes a new view. After a stall it is held back for a while: what gossip says
// of a node that was paused is old.
func (m *Machine) SetView(now limiter.Instant, v *ring.View) {
	m.wake(now)
	if m.next == nil {
		m.nextSince = m.now
	}
	m.next = v
	if now >= m.viewsFrom {
		m.takeView()
	} else {
		m.meetAll(v) // who has come is real
	}
	m.settle()
}

// meetAll makes peers of the members of a view.
func (m *Machine) meetAll(v *ring.View) {
	for _, member := range v.Members() {
		if member.Name != m.Name {
			m.meet(member.Name, member.Boot).inView = true
		}
	}
}

func (m *Machine) takeView() {
	v := m.next
	m.next = nil
	shrunk := m.view != nil && len(v.Members()) < len(m.view.Members())
	same := m.view != nil && m.view.ID() == v.ID()
	m.view = v
	for _, p := range m.peers {
		if p.inView {
			p.inView, p.left = false, m.now
		}
	}
	m.meetAll(v)
	if same {
		m.urgent = true // one that was met while views were held back is no member
		return
	}
	if shrunk && len(v.Members()) == 1 {
		m.aloneFrom = max(m.aloneFrom, m.now.Add(stall))
	}
	for i := range m.parts {
		pt := &m.parts[i]
		pt.owned = v.Owner(i) == m.Name
		pt.since = m.now
		m.touch(pt)
	}
	m.urgent, m.announce = true, true
}

// bury forgets the peers that are no members and were not heard for long. Until then they
// are told what this node holds: a split heals through them.
func (m *Machine) bury() {
	for name, p := range m.peers {
		if !p.inView && m.now.Sub(p.left) > buryAfter && !m.heardLately(p) {
			delete(m.peers, name)
		}
	}
}

// wake moves the machine's time on, and notices that the node was paused.
func (m *Machine) wake(now limiter.Instant) {
	m.now = max(m.now, now)
	m.patient = false
	if m.now.Sub(m.ticked) > stall {
		m.ticked = m.now
		m.paused()
	}
}

// Tick lets time pass. It is to be called every TickEvery; a longer gap means that the
// node was paused.
func (m *Machine) Tick(now limiter.Instant) {
	m.wake(now)
	m.ticked = m.now
	if m.next != nil && (now >= m.viewsFrom || now.Sub(m.nextSince) > 2*holdViews) {
		m.takeView()
	}
	m.urgent = true
	beat := now.Sub(m.beaten) >= Beat
	if beat {
		m.bury()
		m.beaten = now
		m.announce = true
		for i := range m.parts {
			m.parts[i].askNow = true
		}
	}
	for _, p := range m.peers {
		m.settleUp(p)
	}
	m.settle()
}

// Slept tells that the node was paused though its clock did not go on, as when a machine is
// suspended.
func (m *Machine) Slept(now limiter.Instant) {
	m.wake(now)
	m.ticked = m.now
	m.paused()
	m.settle()
}

// paused is what a node does that wakes: what it was permitted others may decide by now,
// and what it did not hear may have been said.
func (m *Machine) paused() {
	m.woken = m.now
	m.viewsFrom = m.now.Add(holdViews)
	m.aloneFrom = m.now.Add(Binding)
	for _, p := range m.peers {
		if p.heard > 0 && !p.gone {
			p.heard = m.now
		}
		p.met = m.now
	}
	for i := range m.parts {
		pt := &m.parts[i]
		pt.holder.heard = m.now
		pt.since = m.now
		if pt.round != nil {
			m.withdraw(pt)
		}
		if pt.hold != nil {
			pt.hold.void()
			m.permit(pt, 0)
		}
	}
}

// Gone tells that a life of a node has provably ended: all its connections ended, and a
// new one was refused.
func (m *Machine) Gone(now limiter.Instant, name string, boot uint64) {
	m.wake(now)
	if p := m.peers[name]; p != nil && p.boot == boot {
		p.gone = true
		m.urgent = true
	}
	m.settle()
}

// Relinked tells that the link for copies to a node began anew: what was under way on it
// may be lost.
func (m *Machine) Relinked(now limiter.Instant, name string) {
	m.wake(now)
	for i := range m.parts {
		if h := m.parts[i].hold; h != nil {
			if c := h.copyAt(name); c != nil {
				m.lostTrack(c)
				m.parts[i].askNow = true
			}
		}
	}
	m.urgent = true
	m.settle()
}

// Replicate sends what was decided since the last call to the copies. It is to be called
// a few milliseconds after the store has something to take.
func (m *Machine) Replicate(now limiter.Instant) {
	m.wake(now)
	m.patient = true
	m.dirty = m.Store.Dirty(m.dirty[:0])
	for _, id := range m.dirty {
		if pt := &m.parts[id]; pt.hold != nil {
			m.take(pt)
			m.feed(pt)
		}
	}
}

// Prompt tells that somebody waits for the copies of a partition to have what was decided in
// it and sent till now: they are asked to acknowledge it at once.
func (m *Machine) Prompt(p limiter.PartitionID) {
	if h := m.parts[p].hold; h != nil {
		for _, c := range h.copies {
			if c.state >= installing {
				m.out.copying(c.name).Patient = false
			}
		}
	}
}

// settle lets every partition go on by what was learned.
func (m *Machine) settle() {
	if m.view == nil {
		return
	}
	for m.urgent || m.room || len(m.hurried) > 0 {
		m.countUnderWay()
		hurried := m.hurried
		m.hurried = nil
		for _, pt := range hurried {
			pt.hurried = false
			m.evaluate(pt)
		}
		all, room := m.urgent, m.room
		m.urgent, m.room = false, false
		if !all && !room {
			continue
		}
		for i := range m.parts {
			if pt := &m.parts[i]; all || pt.awaitsRoom() {
				m.evaluate(pt)
			}
		}
	}
	if m.announce {
		m.announce = false
		m.heartbeat()
	}
}

// hurry lets a partition go on with the present step.
func (m *Machine) hurry(pt *part) {
	if !pt.hurried {
		pt.hurried = true
		m.hurried = append(m.hurried, pt)
	}
}

// evaluate lets one partition go on.
func (m *Machine) evaluate(pt *part) {
	switch {
	case pt.round != nil:
		m.checkRound(pt)
	case pt.hold == nil && pt.complete:
		m.considerPromotion(pt)
	case pt.hold == nil && pt.owned:
		m.considerBeginning(pt)
	}
	if pt.hold != nil {
		m.keep(pt)
	}
	m.remind(pt)
}

// heartbeat tells every peer what this node holds.
func (m *Machine) heartbeat() {
	h := &Heartbeat{View: m.view.ID(), Young: m.young(), Held: make([]Held, 0, m.held)}
	if self, ok := m.view.Member(m.Name); ok {
		h.Draining = self.Draining
	}
	for i := range m.parts {
		if pt := &m.parts[i]; pt.hold != nil {
			h.Held = append(h.Held, Held{pt.id, pt.gen.Number, pt.hold.permit > m.now})
		}
	}
	m.held = len(h.Held)
	for name := range m.peers {
		m.out.frame(name).Heartbeat = h
	}
}

// young tells whether the node started so lately that an earlier life of it may be bound
// by a pledge still.
func (m *Machine) young() bool { return m.now.Sub(m.Start) < Binding }

// enough tells whether the node sees as many members as it has to.
func (m *Machine) enough() bool { return m.view != nil && len(m.view.Members()) >= m.MinMembers }

// Alone tells whether there is no other node that could decide or pledge.
func (m *Machine) Alone() bool { return m.alone() }

// alone tells whether there is no other node that could decide or pledge.
func (m *Machine) alone() bool {
	if m.now < m.aloneFrom {
		return false
	}
	for _, p := range m.peers {
		if m.live(p) && !p.young {
			return false
		}
	}
	return true
}

// touch notes that a partition's route may have changed.
func (m *Machine) touch(pt *part) {
	if !pt.touched {
		pt.touched = true
		m.touched = append(m.touched, pt.id)
	}
}

// progress notes that a registered copy has come on.
func (m *Machine) progress(pt *part) {
	if !pt.safer {
		pt.safer = true
		m.safer = append(m.safer, pt.id)
	}
}

func (m *Machine) note(pt *part, format string, args ...any) {
	if m.Note != nil {
		m.Note(pt.id, fmt.Sprintf(format, args...))
	}
}
