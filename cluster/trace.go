package cluster

import "github.com/overten/sluice/cluster/peer"

// A Tracer makes spans of calls that somebody traces: those with a Trace. Both methods return the
// new span, whose parent is that Trace, and what ends it; nil, if there is none to be. They must
// not block.
type Tracer interface {
	// Forward begins the span of a call that goes to another node.
	Forward(c *peer.Call, to string) (*peer.Trace, func(peer.Answer))
	// Decide begins the span of a call that another node has forwarded.
	Decide(c *peer.Call) (*peer.Trace, func(peer.Answer))
}

// spans are what ends the spans of calls, by the calls' places.
type spans map[int]func(peer.Answer)

func (s spans) end(i int, a peer.Answer) {
	if end := s[i]; end != nil {
		end(a)
	}
}

// traceForward makes the calls that go to a node children of spans of their own. Of calls with one
// Trace, as a batch has it, the first stands for all that go along: they would be 100,000.
func (n *Node) traceForward(calls []*peer.Call, to string) (all spans) {
	if n.Tracer == nil {
		return nil
	}
	var last *peer.Trace
	for i, c := range calls {
		parent := c.Trace
		if parent == nil {
			continue
		}
		if parent == last {
			c.Trace = nil
			continue
		}
		last = parent
		all = all.add(i, c, func() (*peer.Trace, func(peer.Answer)) { return n.Tracer.Forward(c, to) })
	}
	return all
}

// traceDecide makes calls of another node children of spans of this one.
func (n *Node) traceDecide(calls []*peer.Call) (all spans) {
	if n.Tracer == nil {
		return nil
	}
	for i, c := range calls {
		if c.Trace != nil {
			all = all.add(i, c, func() (*peer.Trace, func(peer.Answer)) { return n.Tracer.Decide(c) })
		}
	}
	return all
}

// add begins a span for the call at a place.
func (s spans) add(i int, c *peer.Call, begin func() (*peer.Trace, func(peer.Answer))) spans {
	span, end := begin()
	if end == nil {
		return s
	}
	if s == nil {
		s = make(spans)
	}
	c.Trace, s[i] = span, end
	return s
}
