package ownership

import (
	"maps"
	"slices"
)

// Letters is what is to be sent to one node. Either may be nil.
type Letters struct {
	Frame   *Frame
	Copying *Copying
}

// outbox gathers what is to be sent, by receiver.
type outbox struct {
	to     map[string]*Letters
	deltas int // about how many changes go to one node at a time
}

func (o *outbox) letters(name string) *Letters {
	l := o.to[name]
	if l == nil {
		l = new(Letters)
		o.to[name] = l
	}
	return l
}

func (o *outbox) frame(name string) *Frame {
	l := o.letters(name)
	if l.Frame == nil {
		l.Frame = new(Frame)
	}
	return l.Frame
}

func (o *outbox) copying(name string) *Copying {
	l := o.letters(name)
	if l.Copying == nil {
		l.Copying = &Copying{Patient: true}
	}
	return l.Copying
}

// Letters calls send for each node that something is to be sent to. The letters are the
// receiver's from then on.
func (m *Machine) Letters(send func(to string, l *Letters)) {
	for _, name := range slices.Sorted(maps.Keys(m.out.to)) {
		l := m.out.to[name]
		if l.Frame != nil {
			l.Frame.Stamp = m.now
		}
		if l.Copying != nil {
			l.Copying.Stamp = m.now
			m.acknowledge(m.peers[name], l.Copying)
			if n := len(l.Copying.Deltas); n > 0 {
				m.out.deltas = max(n, m.out.deltas-m.out.deltas/8)
			}
		}
		send(name, l)
		delete(m.out.to, name)
	}
}

// room gives an empty list room for about as many changes as go to one node at a time, unless
// there were unusually many.
func (o *outbox) room(list []Delta) []Delta {
	const usual = 1024
	if list == nil && o.deltas > 0 {
		list = make([]Delta, 0, min(o.deltas, usual))
	}
	return list
}
