package ownership

import "time"

// Status is a summary for operators.
type Status struct {
	View     uint64 // 0: none yet
	Members  int
	Enough   bool // sees as many members as it has to
	Owned    int  // partitions that the view gives to this node
	Held     int
	Waiting  int           // held, and not permitted at the moment
	Copies   int           // complete copies of partitions that others hold
	Uncopied int           // held, without a registered copy
	Unsent   int           // remainders that nobody has taken yet
	CopyLag  time.Duration // age of the oldest change that a registered copy lacks
}

// RoundCounts says how rounds have ended, by what they were for.
type RoundCounts [Begin + 1]struct{ Won, Withdrawn uint64 }

// Rounds returns how the rounds have ended that this node stood in.
func (m *Machine) Rounds() RoundCounts { return m.ended }

// LostPartitions returns how often this node began with nothing in place of a state that was lost.
func (m *Machine) LostPartitions() uint64 { return m.lost }

// Status returns a summary of what the node has.
func (m *Machine) Status() Status {
	s := Status{Enough: m.enough()}
	if m.view != nil {
		s.View, s.Members = m.view.ID(), len(m.view.Members())
	}
	for i := range m.parts {
		pt := &m.parts[i]
		if pt.owned {
			s.Owned++
		}
		if pt.aside != nil {
			s.Unsent++
		}
		if h := pt.hold; h == nil {
			if pt.complete {
				s.Copies++
			}
		} else {
			m.addHolding(&s, h)
		}
	}
	return s
}

func (m *Machine) addHolding(s *Status, h *holding) {
	s.Held++
	if h.permit <= m.now {
		s.Waiting++
	}
	if h.registered() == 0 {
		s.Uncopied++
	}
	for _, c := range h.copies {
		if since, ok := h.oldestUnacked(c); ok && c.registered {
			s.CopyLag = max(s.CopyLag, m.now.Sub(since))
		}
	}
}
