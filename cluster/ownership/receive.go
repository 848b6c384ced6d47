package ownership

import "github.com/overten/sluice/limiter"

// Receive takes a frame from another node.
func (m *Machine) Receive(now limiter.Instant, from string, boot uint64, f *Frame) {
	p := m.hear(now, from, boot, f.Stamp)
	if p == nil {
		return
	}
	for i := range f.Pledges {
		if asked := f.Pledges[i].Asked; asked > 0 && asked <= now {
			p.shift.answered(asked, f.Stamp)
		}
	}
	if m.now.Sub(f.Stamp.Add(p.shift.value())) > Binding {
		// What was said so long ago, to a node that slept, no longer holds. But remainders are taken
		// once whenever they come, and may be so large that they take as long each time.
		m.meetings(p, f)
		m.settle()
		return
	}
	if f.Heartbeat != nil {
		m.heartbeatFrom(p, f.Heartbeat)
	}
	each(m, f.Leaves, func(l *Leave) limiter.PartitionID { return l.Partition }, func(l *Leave) { m.leave(p, l) })
	each(m, f.Lefts, func(l *Left) limiter.PartitionID { return l.Partition }, func(l *Left) { m.left(p, l) })
	each(m, f.Withdrawals, func(w *Withdrawal) limiter.PartitionID { return w.Partition }, func(w *Withdrawal) { m.withdrawn(p, w) })
	each(m, f.Commits, func(c *Commit) limiter.PartitionID { return c.Partition }, func(c *Commit) { m.handed(p, c) })
	each(m, f.Asks, func(a *Ask) limiter.PartitionID { return a.Partition }, func(a *Ask) { m.asked(p, f.Stamp, a) })
	each(m, f.Pledges, func(a *Pledge) limiter.PartitionID { return a.Partition }, func(a *Pledge) { m.pledged(p, a) })
	each(m, f.Stands, func(s *Stand) limiter.PartitionID { return s.Partition }, func(s *Stand) { m.stood(p, s) })
	each(m, f.Votes, func(v *Vote) limiter.PartitionID { return v.Partition }, func(v *Vote) { m.voted(p, v) })
	m.meetings(p, f)
	m.settle()
}

// meetings takes what a frame says of remainders.
func (m *Machine) meetings(p *peer, f *Frame) {
	each(m, f.Remainders, func(r *Remainder) limiter.PartitionID { return r.Partition }, func(r *Remainder) { m.merged(p, r) })
	each(m, f.Taken, func(t *Taken) limiter.PartitionID { return t.Partition }, func(t *Taken) { m.taken(t) })
}

// ReceiveCopying takes snapshots, changes and acknowledgements from another node.
func (m *Machine) ReceiveCopying(now limiter.Instant, from string, boot uint64, c *Copying) {
	p := m.hear(now, from, boot, c.Stamp)
	if p == nil {
		return
	}
	each(m, c.Snapshots, func(s *Snapshot) limiter.PartitionID { return s.Partition }, func(s *Snapshot) { m.installed(p, s) })
	m.follow(p, c.Deltas)
	each(m, c.Acks, func(a *Ack) limiter.PartitionID { return a.Partition }, func(a *Ack) { m.acked(p, a) })
	if !c.Patient {
		m.settleUp(p)
	}
	m.settle()
}

// hear notes that a peer was heard. It returns nil for one of an earlier life.
func (m *Machine) hear(now limiter.Instant, from string, boot uint64, stamp limiter.Instant) *peer {
	m.wake(now)
	if from == m.Name {
		return nil
	}
	p := m.meet(from, boot)
	if boot < p.boot {
		return nil
	}
	p.gone = false
	p.heard, p.stamp = now, stamp
	p.shift.Note(stamp, now)
	return p
}

// each calls do for the items of partitions that there are.
func each[T any](m *Machine, items []T, of func(*T) limiter.PartitionID, do func(*T)) {
	for i := range items {
		if int(of(&items[i])) < len(m.parts) {
			do(&items[i])
		}
	}
}
