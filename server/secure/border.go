package secure

import (
	"errors"
	"fmt"
	"sync"
)

// A border lies between ports. It sees to it that no authority signs the callers of both sides.
type border struct {
	mu           sync.Mutex // held while a guard of either side goes over to other files
	inner, outer []*Guard
}

var errShared = errors.New("who could come in: name those that are allowed")

// KeepApart sees to it that who may come to one of the outer ports cannot come to an inner one, which
// asks for certificates and goes by no names: the error says which two have an authority in common. From
// then on files that would give them one are of no use. It must be called at most once for a guard, and
// before Watch.
func KeepApart(inner, outer []*Guard) error {
	b := &border{outer: outer}
	for _, g := range inner {
		if len(g.Allow) == 0 {
			b.inner = append(b.inner, g)
		}
	}
	for _, g := range b.inner {
		if err := b.crossed(g, g.current.Load()); err != nil {
			return err
		}
	}
	for _, side := range [][]*Guard{b.inner, b.outer} {
		for _, g := range side {
			g.border = b
		}
	}
	return nil
}

// crossed tells what would be wrong if a guard went by m.
func (b *border) crossed(g *Guard, m *material) error {
	of := func(other *Guard) *material {
		if other == g {
			return m
		}
		return other.current.Load()
	}
	for _, inner := range b.inner {
		for _, outer := range b.outer {
			if of(inner).admits(of(outer)) {
				return fmt.Errorf("%s: an authority of its callers signs those of %s too, %w", inner.Name, outer.Name, errShared)
			}
		}
	}
	return nil
}
