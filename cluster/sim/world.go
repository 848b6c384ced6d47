package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
)

// world is a simulated cluster.
type world struct {
	rand *rand.Rand
	now  moment
	agenda
	trace  *trace
	say    func(string) // is told of who holds and who leaves, for a story
	nodes  []*node
	byName map[string]*node

	partitions int
	window     time.Duration
	minMembers int
	lost       ownership.Lost // what is done about partitions that nobody has
	engine     bool           // state is kept in limiter.Tables
	net        network
	ledger     ledger
	leases     leases
	watch      watch
	ambush     ambush
	views      map[uint64]*ring.View
	failed     error
}

func newWorld(seed uint64, nodes, partitions int, t *trace) *world {
	w := &world{
		rand: rand.New(rand.NewPCG(seed, 0x5eed)), trace: t, partitions: partitions, window: window, minMembers: 1,
		byName: make(map[string]*node), views: make(map[uint64]*ring.View),
	}
	w.net.init(w, nodes)
	w.ledger.init(w)
	w.leases.init(w)
	w.watch.unheld = make([]moment, partitions)
	for i := range nodes {
		n := &node{w: w, name: fmt.Sprintf("n%d", i+1), index: i}
		w.nodes = append(w.nodes, n)
		w.byName[n.name] = n
	}
	return w
}

// between returns a duration at random.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rand.Int64N(int64(high-low)+1))
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

// anyNode returns a node at random, up or not.
func (w *world) anyNode() *node { return w.nodes[w.rand.IntN(len(w.nodes))] }

// run lets the agenda come to pass up to a moment, or the first failure.
func (w *world) run(until moment) {
	for w.failed == nil {
		it, ok := w.next(until)
		if !ok {
			break
		}
		w.now = it.at
		it.do()
	}
	w.now = until
}

func (w *world) fail(format string, args ...any) {
	if w.failed == nil {
		w.failed = fmt.Errorf("at %v: "+format, append([]any{time.Duration(w.now)}, args...)...)
		w.note("FAILED %v", w.failed)
	}
}
