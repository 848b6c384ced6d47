package ownership_test

import (
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// b has a complete copy of which a never heard a pledge. a gives it up and goes on; so does b, if
// it is a split, as what it has suffices. When they meet each adds what the other admitted alone,
// and not again what both had.
func TestWhatAnUnregisteredCopyHasIsCountedOnce(t *testing.T) {
	for name, split := range map[string]bool{"silent": false, "split": true} {
		t.Run(name, func(t *testing.T) { unregisteredComesBack(t, split) })
	}
}

func unregisteredComesBack(t *testing.T, split bool) {
	tier, _ := limiter.NewTier(limiter.TierSpec{Name: "pro", Concurrent: 1, Windows: []limiter.Window{{Limit: 60000, Per: time.Hour}}})
	m := newMesh(t)
	tables := map[string]*limiter.Table{}
	m.store = func(name string, of *limiter.Table) ownership.Store { tables[name] = of; return of }
	hits := 0
	hit := func() {
		for name, o := range m.up {
			for p := range limiter.PartitionID(meshPartitions) {
				if o.Route(p).Held && tables[name].Check(keyIn(p), tier, 1, m.now).Allowed {
					hits++
				}
			}
		}
	}
	var cut, muted, released bool // no pledge of b arrives from its first snapshot until released
	step := func(d time.Duration, hitting bool) {
		for end := m.now.Add(d); m.now < end; {
			m.now = m.now.Add(ownership.TickEvery)
			if hitting {
				hit()
			}
			for _, o := range m.up {
				o.Tick(m.now)
				o.Replicate(m.now)
			}
			for said := true; said; {
				said = false
				for _, from := range []string{"a", "b"} {
					o := m.up[from]
					if o == nil {
						continue
					}
					o.Touched(func(limiter.PartitionID) {})
					o.Letters(func(to string, l *ownership.Letters) {
						said = true
						other := m.up[to]
						if other == nil || cut {
							return
						}
						if l.Copying != nil && len(l.Copying.Snapshots) > 0 {
							muted = true
						}
						if l.Frame != nil && !(from == "b" && muted && !released) {
							other.Receive(m.now, from, 1, l.Frame)
						}
						if l.Copying != nil {
							other.ReceiveCopying(m.now, from, 1, l.Copying)
						}
					})
				}
			}
		}
	}
	view := func(node string, names ...string) {
		var ms []ring.Member
		for _, n := range names {
			ms = append(ms, ring.Member{Name: n, Boot: 1})
		}
		v, err := m.views.Build(ms)
		if err != nil {
			t.Fatal(err)
		}
		m.up[node].SetView(m.now, v)
	}
	m.start("a")
	step(5*time.Second, true)
	m.start("b")
	step(time.Second, false)
	_, copies := m.up["b"].Holds()
	registered := 0
	for p := range limiter.PartitionID(meshPartitions) {
		registered += len(m.up["a"].Copies(p))
	}
	t.Logf("b has %d copies, %d are registered, %d hits so far", copies, registered, hits)
	if copies == 0 || registered == copies {
		t.Fatal("not what is to be tested")
	}
	cut = true
	step(800*time.Millisecond, true)
	view("a", "a")
	if split {
		view("b", "b")
	}
	before := hits
	step(4*time.Second, true)
	t.Logf("%d hits while b was away", hits-before)
	cut, released = false, true
	m.up["a"].Relinked(m.now, "b")
	m.up["b"].Relinked(m.now, "a")
	m.look()
	step(10*time.Second, true)
	step(500*time.Millisecond, false)
	for name := range m.up {
		if got := units(tables[name], m.now); got != hits {
			t.Errorf("%s counts %d units, of %d that were admitted", name, got, hits)
		}
	}
}
