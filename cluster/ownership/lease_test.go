package ownership_test

import (
	"slices"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// Leases end later by as long as nobody could renew them, however long that was, whether their holder
// decides again, its copy goes on, or it hands over what it may not decide.
func TestLeasesWaitForAHolder(t *testing.T) {
	away := func(s *sides, names ...string) {
		for i, name := range names {
			s.side[name] = i + 1
		}
	}
	for name, wait := range map[string]leaseWait{
		"the holder": {
			minMembers: 2,
			begins:     func(s *sides, _, copyAt string, others []string) { away(s, append(others, copyAt)...) },
		},
		"the copy of one that died": {
			minMembers: 2,
			begins: func(s *sides, holder, _ string, others []string) {
				away(s, others...)
				s.kill(holder)
			},
		},
		"the copy of one that then dies": {
			minMembers: 3,
			begins:     func(s *sides, _, _ string, others []string) { away(s, others...) },
			ends:       func(s *sides, holder string) { s.kill(holder) },
		},
		"the successor": {
			minMembers: 3,
			begins:     func(s *sides, _, _ string, others []string) { away(s, others...) },
			ends:       func(s *sides, holder string) { s.drains[holder] = true },
		},
	} {
		t.Run(name, wait.run)
	}
}

// leaseWait is how one of four nodes, which must see others to decide, comes not to.
type leaseWait struct {
	minMembers int
	begins     func(s *sides, holder, copyAt string, others []string)
	ends       func(s *sides, holder string)
}

// run lets it last for 90 s, with a lease that has 100 s left, and wants that to be there 10 s after
// its end.
func (w leaseWait) run(t *testing.T) {
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "t", Windows: []limiter.Window{{Limit: 10, Per: time.Minute}}, Concurrent: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSides(t, 7)
	s.minMembers = w.minMembers
	for _, name := range []string{"a", "b", "c", "d"} {
		s.start(name)
	}
	s.run(5 * time.Second)
	const p, left = limiter.PartitionID(0), 100 * time.Second
	holder := s.holder(p, 0)
	copyAt := s.up[holder].Copies(p)[0]
	key, run := keyIn(p), limiter.RunHashOf(1, 0)
	g, err := s.tables[holder].Acquire(&limiter.Acquisition{Key: key, Tier: tier, Run: run, TTL: left, Nonce: 1}, s.now)
	if err != nil || !g.Granted {
		t.Fatal(g, err)
	}
	s.run(time.Second)
	w.begins(s, holder, copyAt, slices.DeleteFunc(s.names(), func(name string) bool { return name == holder || name == copyAt }))
	s.look()
	s.run(90 * time.Second)
	if w.ends != nil {
		w.ends(s, holder)
		s.look()
		s.run(time.Second)
	}
	clear(s.side)
	s.look()
	s.run(20 * time.Second)
	if _, err := s.tables[s.holder(p, 0)].Renew(limiter.LeaseRef{Key: key, Run: run, Nonce: g.Nonce}, left, nil, s.now); err != nil {
		t.Errorf("90 of 110 seconds nobody could renew a lease of 100: %v", err)
	}
}
