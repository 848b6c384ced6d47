package ownership

import (
	"maps"
	"slices"
	"time"

	"github.com/overten/sluice/limiter"
)

// round is this node standing for a partition: it asks every live member for its pledge,
// and has won when all have given it within Failover of its asking.
type round struct {
	id      uint64
	why     Why
	at      Position
	sent    limiter.Instant
	waiting []string // who has not answered
	voters  []string // who has pledged
	rival   string   // whom it does not ask, being silent or gone
	highest uint64   // the highest number of a generation that anybody knew
}

// considerPromotion lets a copy stand whose holder fell silent or is gone, and forgets a
// copy that a holder does not count on. Who leaves need not see that one decide: with too few
// others it never may.
func (m *Machine) considerPromotion(pt *part) {
	c, leaves := &pt.holder, m.isDraining(m.Name)
	gone := c.name != "" && !m.sameLife(c.name, c.gen.Boot)
	if c.name != "" && c.name != m.Name && (c.permitted || leaves) && m.now.Sub(c.heard) < Failover && (!gone || c.gen.After(pt.at.Gen)) {
		switch idle := m.now.Sub(max(pt.askedLast, pt.since)) > time.Second; {
		case !idle || c.gen == pt.at.Gen && !leaves:
		case !pt.at.Gen.After(c.gen):
			m.discard(pt)
		case c.permitted:
			m.offer(pt)
		}
		return
	}
	quiet := m.now.Sub(max(c.heard, pt.since)) > Binding || c.name == m.Name
	if gone || quiet {
		m.standTo(pt, Promote)
	}
}

// considerBeginning lets the owner of a partition begin that nobody holds or has a copy
// of: whoever does would have stood before. Who was left alone a moment ago waits: others may be
// there that only the last one knew.
func (m *Machine) considerBeginning(pt *part) {
	c := &pt.holder
	if c.name != "" && m.sameLife(c.name, c.gen.Boot) && m.now.Sub(c.heard) <= Binding {
		return
	}
	if (m.alone() || m.now.Sub(max(c.heard, pt.since)) > beginAfter) && !m.bereft() {
		m.standTo(pt, Begin)
	}
}

// standTo begins a round, unless it is too early or nobody may vote. Who was paused first has
// to hear who is there by now: of those whose end is known, others may have begun to live.
func (m *Machine) standTo(pt *part, why Why) {
	if m.now.Sub(m.woken) < Binding {
		return
	}
	if pt.round != nil || m.now < pt.standAfter || !m.enough() || !m.free(pt, m.Name, m.Boot) && !m.alone() {
		return
	}
	m.rounds++
	r := &round{id: m.rounds, why: why, at: pt.at, sent: m.now, highest: pt.known.Number, rival: pt.holder.name}
	var dropped []string
	if why == Drop {
		r.at = Position{pt.gen, pt.hold.last}
		r.rival = ""
		for _, c := range pt.hold.copies {
			if p := m.peers[c.name]; c.registered && (p == nil || p.gone || p.boot != c.boot || !m.heardLately(p)) {
				dropped = append(dropped, c.name)
			}
		}
	}
	silent := func(p *peer) bool {
		return (p.name == r.rival || slices.Contains(dropped, p.name)) && !m.heardLately(p)
	}
	left := false // a silent rival that gossip has not declared dead
	for _, name := range slices.Sorted(maps.Keys(m.peers)) {
		switch p := m.peers[name]; {
		case !m.live(p):
		case silent(p):
			left = true
		default:
			r.waiting = append(r.waiting, name)
		}
	}
	if len(r.waiting) == 0 && (left || !m.alone()) {
		return // with no vote at all to be had
	}
	pt.round = r
	if pt.hold == nil {
		pl := pt.bind(m.Name, m.Boot)
		pl.round, pl.voted = r.id, m.now.Add(Failover)
	}
	for _, name := range r.waiting {
		f := m.out.frame(name)
		f.Stands = append(f.Stands, Stand{Partition: pt.id, Round: r.id, Why: why, At: r.at, View: m.view.ID()})
	}
	m.note(pt, "%v from %v/%d: asks %v", why, r.at.Gen, r.at.Seq, r.waiting)
	m.checkRound(pt)
}

// checkRound ends a round that is won, or that can no longer be.
func (m *Machine) checkRound(pt *part) {
	r := pt.round
	if p := m.peers[r.rival]; len(r.voters) > 0 && (p == nil || !m.live(p) || !m.heardLately(p)) {
		// It fell silent meanwhile: it was heard after it had last said that it holds.
		r.waiting = slices.DeleteFunc(r.waiting, func(name string) bool { return name == r.rival })
	}
	switch {
	case m.now.Sub(r.sent) >= Failover:
		m.withdraw(pt)
	case len(r.waiting) == 0:
		m.won(pt)
	}
}

// withdraw ends a round without success. The next comes after a pause at random, so that
// candidates do not meet for ever.
func (m *Machine) withdraw(pt *part) {
	r := pt.round
	pt.round = nil
	m.ended[r.why].Withdrawn++
	m.note(pt, "withdraws, lacking %v", r.waiting)
	for _, name := range append(r.waiting, r.voters...) {
		if p := m.peers[name]; p != nil && !p.gone {
			f := m.out.frame(name)
			f.Withdrawals = append(f.Withdrawals, Withdrawal{pt.id, r.id})
		}
	}
	if pt.pledge.to == m.Name {
		pt.pledge = pledge{}
	}
	pt.standAfter = m.now.Add(roundPause + time.Duration(m.Rand.Int64N(int64(2*roundPause))))
}

// won ends a round with success.
func (m *Machine) won(pt *part) {
	r := pt.round
	pt.round = nil
	m.ended[r.why].Won++
	switch r.why {
	case Promote:
		silence := m.now.Sub(max(pt.decided, 1)) - Beat // whose copy this is may have decided until it would have asked again
		number := max(r.highest, pt.known.Number) + 1
		if pt.commit != nil {
			number++ // later than the generation that our commit may have begun unheard
		}
		m.begin(pt, number, pt.at, false)
		m.Store.Doubt(pt.id, limiter.Recovering, m.now, false)
		if silence > 0 {
			m.Store.Prolong(pt.id, min(silence, limiter.MaxTTL), m.now)
		}
		m.take(pt)
	case Begin:
		m.beginEmpty(pt, r)
	case Drop:
		for _, c := range slices.Clone(pt.hold.copies) {
			if p := m.peers[c.name]; c.registered && (p == nil || p.gone || p.boot != c.boot || !m.heardLately(p)) {
				m.forget(pt, c)
			}
		}
	}
	h := pt.hold
	if len(r.voters) > 0 {
		h.witness, h.witnessed, h.asking = r.voters[0], r.sent, m.now
	}
	pt.askNow = true
	m.hurry(pt)
	m.touch(pt)
	m.permitNow(pt)
}

// beginEmpty makes this node the holder of a partition whose state nobody has. If there
// ever was one, what it admits is told to be degraded for as long as that would count.
func (m *Machine) beginEmpty(pt *part, r *round) {
	was := max(r.highest, pt.known.Number)
	m.discard(pt)
	m.begin(pt, was+1, Position{}, false)
	if was == 0 {
		return
	}
	m.lost++
	m.Store.Doubt(pt.id, limiter.Degraded, m.now, m.Lost == LostHalf)
	m.take(pt)
	if m.Lost == LostClosed {
		pt.closed = m.now.Add(m.Horizon)
	}
}

// stood answers a candidate.
func (m *Machine) stood(p *peer, s *Stand) {
	pt := &m.parts[s.Partition]
	v := Vote{Partition: pt.id, Round: s.Round, Known: pt.known}
	if m.votes(pt, p, s) {
		v.Given = true
		pl := pt.bind(p.name, p.boot)
		pl.round, pl.voted = s.Round, m.now.Add(Binding)
	}
	f := m.out.frame(p.name)
	f.Votes = append(f.Votes, v)
}

// votes tells whether this node pledges to a candidate.
func (m *Machine) votes(pt *part, p *peer, s *Stand) bool {
	if pt.hold != nil || m.hears(pt, p.name) {
		return false
	}
	if r := pt.round; r != nil {
		if r.at.Compare(s.At) > 0 || r.at.Compare(s.At) == 0 && m.Name > p.name {
			return false
		}
		m.withdraw(pt) // the lower of two candidates yields
	}
	if pt.complete && pt.at.Compare(s.At) > 0 {
		return false // and stands itself, in its time
	}
	if s.Why == Begin && (m.view == nil || s.View != m.view.ID()) {
		return false
	}
	return m.free(pt, p.name, p.boot)
}

// voted takes the answer to a Stand.
func (m *Machine) voted(p *peer, v *Vote) {
	pt := &m.parts[v.Partition]
	m.learn(pt, v.Known)
	r := pt.round
	if r == nil || r.id != v.Round {
		return
	}
	i := slices.Index(r.waiting, p.name)
	if i < 0 {
		return
	}
	if !v.Given {
		m.withdraw(pt)
		return
	}
	r.highest = max(r.highest, v.Known.Number)
	r.waiting = slices.Delete(r.waiting, i, i+1)
	r.voters = append(r.voters, p.name)
	m.checkRound(pt)
}

// withdrawn takes back the pledge that was given to a round.
func (m *Machine) withdrawn(p *peer, w *Withdrawal) {
	pl := &m.parts[w.Partition].pledge
	if pl.to == p.name && pl.boot == p.boot && pl.round == w.Round {
		pl.voted = 0
	}
}
