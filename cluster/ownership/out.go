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
	to           map[string]*Letters
	emptyFrame   func() *Frame
	emptyCopying func() *Copying
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
		l.Frame = o.emptyFrame()
	}
	return l.Frame
}

func (o *outbox) copying(name string) *Copying {
	l := o.letters(name)
	if l.Copying == nil {
		l.Copying = o.emptyCopying()
		l.Copying.Patient = true
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
		}
		send(name, l)
		delete(m.out.to, name)
	}
}
