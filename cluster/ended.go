package cluster

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/overten/sluice/cluster/gossip"
)

// ended is the lives of nodes that have provably ended, though gossip still has them for
// members: of several that die at once it gives up one after the other, and takes seconds.
// They own nothing in this node's view. One that is heard again was taken for ended in error.
type ended struct {
	changed chan struct{} // the view is to be built anew

	some atomic.Bool // of is not empty
	mu   sync.Mutex  // guards of
	of   map[string]uint64
}

func (e *ended) init() {
	e.changed = make(chan struct{}, 1)
	e.of = make(map[string]uint64)
}

// note takes that a life has ended.
func (e *ended) note(name string, boot uint64) {
	e.mu.Lock()
	e.of[name] = boot
	e.some.Store(true)
	e.mu.Unlock()
	e.stir()
}

// heard takes that a life goes on.
func (e *ended) heard(name string, boot uint64) {
	if !e.some.Load() {
		return
	}
	e.mu.Lock()
	wrong := e.of[name] == boot && boot != 0
	if wrong {
		delete(e.of, name)
		e.some.Store(len(e.of) > 0)
	}
	e.mu.Unlock()
	if wrong {
		e.stir()
	}
}

func (e *ended) stir() {
	select {
	case e.changed <- struct{}{}:
	default: // it was told
	}
}

// without returns the members whose lives have not ended, and forgets of the others those
// that gossip has given up by now.
func (e *ended) without(members []gossip.Meta) []gossip.Meta {
	if !e.some.Load() {
		return members
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, boot := range e.of {
		if !slices.ContainsFunc(members, func(m gossip.Meta) bool { return m.Name == name && m.Boot == boot }) {
			delete(e.of, name)
		}
	}
	e.some.Store(len(e.of) > 0)
	return slices.DeleteFunc(slices.Clone(members), func(m gossip.Meta) bool { return e.of[m.Name] == m.Boot && m.Boot != 0 })
}
