package ownership_test

import (
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// Acknowledgements that nobody waits for go along with what is sent anyway, those of a while
// together, at the latest with a tick; one that somebody waits for is sent at once, also of what was sent before.
func TestAcknowledgementsWaitForCompany(t *testing.T) {
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "pro", Concurrent: 1, Windows: []limiter.Window{{Limit: 60, Per: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	m := newMesh(t)
	tables := map[string]*limiter.Table{}
	m.store = func(name string, of *limiter.Table) ownership.Store { tables[name] = of; return of }
	m.start("a")
	m.start("b")
	m.run(5 * time.Second)
	var p, q limiter.PartitionID // a holds p, b holds q
	for i := range limiter.PartitionID(meshPartitions) {
		if m.up["a"].Route(i).Held {
			p = i
		} else {
			q = i
		}
	}
	hit := func(at string, p limiter.PartitionID) (last uint64) {
		t.Helper()
		if d := tables[at].Check(keyIn(p), tier, 1, m.now); !d.Allowed {
			t.Fatalf("%s: %+v", at, d)
		}
		m.up[at].Replicate(m.now)
		_, last = tables[at].PermitOf(p)
		return last
	}
	expect := func(when string, last uint64, safe bool) {
		t.Helper()
		if got := m.up["a"].Route(p).Safe; got != last && safe || got >= last && !safe {
			t.Errorf("%s: changes up to %d of %d are in the copy, want them all: %v", when, got, last, safe)
		}
	}

	unheeded := func(when string) (last uint64) { // a hit whose acknowledgement nobody waits for
		t.Helper()
		last = hit("a", p)
		m.deliver()
		expect(when, last, false)
		return last
	}
	told := func(when string, last uint64, safe bool) { // b sends something itself
		t.Helper()
		hit("b", q)
		m.deliver()
		expect(when, last, safe)
	}

	last := unheeded("nobody waits")
	told("b sends something itself", last, true)

	last = unheeded("nobody waits again")
	told("b sends something again at once", last, false)
	m.now = m.now.Add(25 * time.Millisecond)
	told("b sends something a while later", last, true)

	last = unheeded("nobody waits once more")
	m.up["b"].Tick(m.now.Add(ownership.TickEvery))
	m.deliver()
	expect("b ticks", last, true)

	last = hit("a", p)
	m.up["a"].Prompt(p)
	m.deliver()
	expect("somebody waits", last, true)

	last = unheeded("nobody waits yet")
	m.up["a"].Prompt(p)
	m.deliver()
	expect("somebody waits for what was sent before", last, true)
}
