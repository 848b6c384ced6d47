package cluster

import (
	"testing"

	"github.com/overten/sluice/cluster/peer"
)

// byHand is a Tracer whose spans are numbered, each in the first byte of its Trace.
type byHand struct {
	begun byte
	ended map[byte]byte // by span: its parent
}

func (h *byHand) Forward(c *peer.Call, _ string) (*peer.Trace, func(peer.Answer)) { return h.Decide(c) }

func (h *byHand) Decide(c *peer.Call) (*peer.Trace, func(peer.Answer)) {
	if c.Trace[0] == 0 { // not one that is a parent
		return nil, nil
	}
	h.begun++
	span, parent := h.begun, c.Trace[0]
	return &peer.Trace{span}, func(peer.Answer) { h.ended[span] = parent }
}

func TestABatchHasOneSpanForEachNode(t *testing.T) {
	h := &byHand{begun: 100, ended: make(map[byte]byte)}
	n := &Node{Config: Config{Tracer: h}}
	one, two := &peer.Trace{1}, &peer.Trace{2}
	calls := []*peer.Call{{}, {Trace: one}, {Trace: one}, {Trace: two}, {Trace: new(peer.Trace)}, {Trace: two}}
	spans := n.traceForward(calls, "other")
	for i, want := range []byte{0, 101, 0, 102, 0, 103} {
		c := calls[i]
		if got := c.Trace; want == 0 && got != nil && *got != (peer.Trace{}) || want != 0 && (got == nil || got[0] != want) {
			t.Errorf("call %d travels with %v, want span %d", i, got, want)
		}
		spans.end(i, peer.Answer{})
	}
	if h.ended[101] != 1 || h.ended[102] != 2 || h.ended[103] != 2 || len(h.ended) != 3 {
		t.Errorf("ended are %v", h.ended)
	}
}

func TestWithoutATracerTracesPassThrough(t *testing.T) {
	n, trace := new(Node), &peer.Trace{1}
	calls := []*peer.Call{{Trace: trace}}
	spans := n.traceForward(calls, "other")
	spans.end(0, peer.Answer{})
	if n.traceDecide(calls) != nil || calls[0].Trace != trace {
		t.Errorf("the call travels with %v", calls[0].Trace)
	}
}
