package gossip

import (
	"sync"
	"testing"
	"time"
)

// All members have news at the same time, again and again, and each hears that of all others by
// gossip: full exchanges come too late for it here.
func TestNewsOfAllAtOnceReachesAll(t *testing.T) {
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Timing.Sync = time.Hour })
	for round := uint64(1); round <= 60; round++ {
		var all sync.WaitGroup
		for _, g := range nodes {
			all.Go(func() {
				g.mu.Lock()
				m := g.meta
				g.mu.Unlock()
				for _, m.Policy = range []uint64{0, round} { // the second while the first waits to be sent
					if err := g.Update(m); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		eventually(t, "all know the news of all", func() bool {
			for _, g := range nodes {
				for _, m := range g.Members() {
					if m.Policy != round {
						return false
					}
				}
			}
			return true
		})
	}
}
