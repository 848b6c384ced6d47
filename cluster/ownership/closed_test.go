package ownership_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// A mesh is machines that hear each other at once.
type mesh struct {
	t     *testing.T
	now   limiter.Instant
	views *ring.Builder
	up    map[string]*ownership.Machine
	store func(name string, table *limiter.Table) ownership.Store // nil: the table itself

	rejected func(p limiter.PartitionID, from string, err error) // of all; may be nil
}

func newMesh(t *testing.T) *mesh {
	return &mesh{t: t, now: limiter.Instant(100 * time.Hour), views: ring.NewBuilder(meshPartitions), up: make(map[string]*ownership.Machine)}
}

const meshPartitions = 7

func (m *mesh) start(name string) {
	table, err := limiter.NewTable(limiter.Config{Partitions: meshPartitions, MaxKeys: 1000, LargestLimit: 100, Shared: true})
	if err != nil {
		m.t.Fatal(err)
	}
	store := ownership.Store(table)
	if m.store != nil {
		store = m.store(name, table)
	}
	m.up[name] = ownership.New(ownership.Config{
		Name: name, Boot: 1, Partitions: meshPartitions, Store: store, Rand: rand.New(rand.NewPCG(1, uint64(len(m.up)))),
		Horizon: time.Minute, MinMembers: 1, Lost: ownership.LostClosed, Start: m.now, Rejected: m.rejected,
	})
	m.look()
}

// kill ends nodes whose connections are refused from then on.
func (m *mesh) kill(names ...string) {
	for _, name := range names {
		delete(m.up, name)
	}
	for _, name := range names {
		for _, o := range m.up {
			o.Gone(m.now, name, 1)
		}
	}
	m.look()
}

// look lets all go by the view of those that are up.
func (m *mesh) look() {
	var members []ring.Member
	for name := range m.up {
		members = append(members, ring.Member{Name: name, Boot: 1})
	}
	view, err := m.views.Build(members)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range m.up {
		o.SetView(m.now, view)
	}
}

func (m *mesh) run(d time.Duration) {
	for end := m.now.Add(d); m.now < end; {
		m.now = m.now.Add(ownership.TickEvery)
		for _, o := range m.up {
			o.Tick(m.now)
			o.Replicate(m.now)
		}
		m.deliver()
	}
}

// deliver lets letters go to and fro until nobody has anything to say.
func (m *mesh) deliver() {
	for said := true; said; {
		said = false
		for from, o := range m.up {
			o.Touched(func(limiter.PartitionID) {})
			o.Letters(func(to string, l *ownership.Letters) {
				said = true
				if other := m.up[to]; other != nil && l.Frame != nil {
					other.Receive(m.now, from, 1, l.Frame)
				}
				if other := m.up[to]; other != nil && l.Copying != nil {
					other.ReceiveCopying(m.now, from, 1, l.Copying)
				}
			})
		}
	}
}

// counts returns how many partitions a node holds, and how many of them it may decide for.
func (m *mesh) counts(name string) (held, permitted int) {
	for p := range limiter.PartitionID(meshPartitions) {
		if r := m.up[name].Route(p); r.Held {
			held++
			if r.Until > m.now {
				permitted++
			}
		}
	}
	return held, permitted
}

// What --when-lost closed says of a partition goes along with it: to whoever it is handed over
// to, and to the copy that goes on when its holder dies. It was once forgotten with the holder,
// which besides could not hand it over.
func TestClosedGoesWithThePartition(t *testing.T) {
	m := newMesh(t)
	for _, name := range []string{"a", "b", "c"} {
		m.start(name)
	}
	m.run(5 * time.Second)
	m.kill("a", "b")
	m.run(3 * time.Second)
	held, permitted := m.counts("c")
	closed := held - permitted
	if held != meshPartitions || closed == 0 {
		t.Fatalf("c holds %d of %d partitions, %d of them closed", held, meshPartitions, closed)
	}
	m.start("d")
	m.run(10 * time.Second)
	if held, _ := m.counts("d"); held == 0 {
		t.Error("nothing was handed over to d")
	}
	m.kill("c")
	m.run(3 * time.Second)
	if held, permitted := m.counts("d"); held != meshPartitions || held-permitted != closed {
		t.Errorf("d holds %d partitions, %d of them closed, want %d and %d", held, held-permitted, meshPartitions, closed)
	}
	m.run(time.Minute)
	if _, permitted := m.counts("d"); permitted != meshPartitions {
		t.Errorf("after the longest window d may decide for %d of %d", permitted, meshPartitions)
	}
}
