package ownership_test

import (
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// busy is a table that admits a unit right before each snapshot, as calls do that go on while
// the machine works.
type busy struct {
	*limiter.Table
	mesh *mesh
	tier *limiter.Tier
	hits int
}

func keyIn(p limiter.PartitionID) limiter.Key {
	return limiter.Key{Partition: p}
}

func (b *busy) Snapshot(dst []byte, p limiter.PartitionID, since limiter.Instant) ([]byte, uint64) {
	if b.Check(keyIn(p), b.tier, 1, b.mesh.now).Allowed {
		b.hits++
	}
	return b.Table.Snapshot(dst, p, since)
}

// units returns how many units a table knows of, in all partitions.
func units(t *limiter.Table, now limiter.Instant) (sum int) {
	for p := range limiter.PartitionID(meshPartitions) {
		state, _ := t.Inspect(keyIn(p), now)
		for _, e := range state.History {
			sum += int(e.Units)
		}
	}
	return sum
}

// A copy once counted twice what was admitted between the changes that had been taken and the
// snapshot that it was sent.
func TestWhatIsInASnapshotIsNotAppliedAgain(t *testing.T) {
	m := newMesh(t)
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "pro", Concurrent: 1, Windows: []limiter.Window{{Limit: 100, Per: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]*busy{}
	m.store = func(name string, table *limiter.Table) ownership.Store {
		tables[name] = &busy{Table: table, mesh: m, tier: tier}
		return tables[name]
	}
	m.start("a")
	m.run(5 * time.Second)
	m.start("b")
	m.run(10 * time.Second)
	hits := tables["a"].hits + tables["b"].hits
	if hits == 0 {
		t.Fatal("nothing was admitted")
	}
	for name, table := range tables {
		if got := units(table.Table, m.now); got != hits {
			t.Errorf("%s counts %d units, of %d that were admitted", name, got, hits)
		}
	}
}

// Whoever had a copy before a pause in which nobody wanted changes lacks what changed in it.
func TestAPauseHasANumber(t *testing.T) {
	m := newMesh(t)
	var table *limiter.Table
	m.store = func(_ string, of *limiter.Table) ownership.Store { table = of; return of }
	m.start("a")
	m.run(5 * time.Second)
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "pro", Concurrent: 1, Windows: []limiter.Window{{Limit: 100, Per: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	_, alone := table.PermitOf(0)
	for range 3 {
		table.Check(keyIn(0), tier, 1, m.now)
	}
	if _, last := table.PermitOf(0); last != alone || alone == 0 {
		t.Errorf("a lone holder is at change %d, and after three units at %d: want the number of its pause", alone, last)
	}
	if changes := table.Take(0); changes.Last != 0 {
		t.Errorf("changes %d to %d were recorded for nobody", changes.First, changes.Last)
	}
}
