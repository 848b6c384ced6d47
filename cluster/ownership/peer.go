package ownership

import "github.com/overten/sluice/limiter"

// peer is what the machine knows of another node.
type peer struct {
	name    string
	boot    uint64
	inView  bool
	left    limiter.Instant // when it was last in the view, if it is not
	gone    bool            // this life of it has ended
	young   bool            // it says so
	leaves  bool            // it says that it is draining
	met     limiter.Instant // when this life of it was first heard of
	heard   limiter.Instant // 0: never
	stamp   limiter.Instant // of what was heard last, by the peer's clock: not after heard
	held    []Held          // by its last heartbeat
	shift   Shift
	flight  int // bytes of snapshots under way to it
	flights int // how many these are

	remainders int  // bytes of these under way to it
	crowded    bool // there is no room for another, by the last that was tried
	fewest     int  // of those that are due, how many times one was sent: these first

	owed []limiter.PartitionID // of which it is owed an acknowledgement, each once
	owes []uint64              // the same, a bit for each partition
	due  bool                  // it is to be told at once
	told limiter.Instant       // when it last was
}

// owe notes that a peer is owed an acknowledgement.
func (p *peer) owe(id limiter.PartitionID) {
	word, bit := int(id/64), uint64(1)<<(id%64)
	for len(p.owes) <= word {
		p.owes = append(p.owes, 0)
	}
	if p.owes[word]&bit == 0 {
		p.owes[word] |= bit
		p.owed = append(p.owed, id)
	}
}

// settled notes that a peer is owed nothing.
func (p *peer) settled() {
	clear(p.owes)
	p.owed = p.owed[:0]
}

// meet returns the peer of a name in this life or a later one: a new boot proves that the
// old one is gone.
func (m *Machine) meet(name string, boot uint64) *peer {
	p := m.peers[name]
	if p == nil {
		p = &peer{name: name, boot: boot, left: m.now, met: m.now}
		m.peers[name] = p
	}
	if boot > p.boot {
		*p = peer{name: name, boot: boot, inView: p.inView, left: m.now, met: m.now, young: true}
		m.urgent = true
	}
	return p
}

// live tells whether a peer has to be reckoned with: it is in the view, or was heard
// lately, and has not provably ended.
func (m *Machine) live(p *peer) bool {
	return !p.gone && (m.heardLately(p) || p.inView && !m.mute(p))
}

// mute tells whether a member of the view has not been heard for so long, by a node that
// hears most of them, that nothing can be expected of it.
func (m *Machine) mute(p *peer) bool {
	if m.now.Sub(max(p.met, p.heard)) < muteAfter {
		return false
	}
	heard := 1
	for _, o := range m.peers {
		if o.inView && m.heardLately(o) {
			heard++
		}
	}
	return 2*heard > len(m.view.Members())
}

// bereft tells whether there is nobody left of those who were there a moment ago.
func (m *Machine) bereft() (lately bool) {
	for _, p := range m.peers {
		if m.live(p) {
			return false
		}
		lately = lately || p.heard > 0 && m.now.Sub(p.heard) < Binding
	}
	return lately
}

// heardLately tells whether a peer was heard within Failover.
func (m *Machine) heardLately(p *peer) bool {
	return p.heard > 0 && m.now.Sub(p.heard) < Failover
}

// reachable tells whether a node can be given something now.
func (m *Machine) reachable(name string) bool {
	p := m.peers[name]
	return p != nil && !p.gone && m.heardLately(p)
}

// sameLife tells whether the node of that name still lives the life of that boot.
func (m *Machine) sameLife(name string, boot uint64) bool {
	if name == m.Name {
		return boot == m.Boot
	}
	p := m.peers[name]
	return p == nil || p.boot == boot && !p.gone
}
