package peer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// BenchmarkCopies measures what a hit's copy costs both nodes, all of it but the sockets: it is
// taken, told, encoded, decoded, applied, acknowledged and noted. So many hits, of random keys of
// so many, share a turn; what is not reported as ns/hit is deciding and recording them.
func BenchmarkCopies(b *testing.B) {
	for _, keys := range []int{10_000, 1_000_000} {
		for _, hits := range []int{64, 512, 4096} {
			b.Run(fmt.Sprintf("keys=%d/hits=%d", keys, hits), func(b *testing.B) { benchmarkCopies(b, keys, hits) })
		}
	}
}

const benchPartitions = 1021

// A couple is two nodes that hold half of the partitions each and copy the other's.
type couple struct {
	now      limiter.Instant
	machines [2]*ownership.Machine
	tables   [2]*limiter.Table
	wire     []byte
	read     [2]copyings
}

func newCouple(b *testing.B, keys int) *couple {
	names := [2]string{"node-0", "node-1"}
	view, err := ring.Build([]ring.Member{{Name: names[0], Boot: 1}, {Name: names[1], Boot: 1}}, benchPartitions)
	if err != nil {
		b.Fatal(err)
	}
	p := &couple{now: limiter.Instant(48 * time.Hour)}
	for i := range names {
		p.tables[i], err = limiter.NewTable(limiter.Config{
			Partitions: benchPartitions, MaxKeys: 4 * keys, LargestLimit: 600, Shared: true,
		})
		if err != nil {
			b.Fatal(err)
		}
		p.machines[i] = ownership.New(ownership.Config{
			Name: names[i], Boot: 1, Partitions: benchPartitions, Store: p.tables[i], EmptyCopying: EmptyCopying,
			Rand: rand.New(rand.NewPCG(1, uint64(i))), Horizon: time.Minute, MinMembers: 1, Start: p.now,
		})
		p.machines[i].SetView(p.now, view)
	}
	for range 100 {
		p.now += limiter.Instant(ownership.TickEvery)
		p.tick(b)
	}
	for id := range limiter.PartitionID(benchPartitions) {
		r := [2]ownership.Route{p.machines[0].Route(id), p.machines[1].Route(id)}
		if r[0].Held == r[1].Held || len(p.machines[0].Copies(id))+len(p.machines[1].Copies(id)) != 1 {
			b.Fatalf("partition %d: %+v", id, r)
		}
	}
	return p
}

func (p *couple) tick(b *testing.B) {
	for _, m := range p.machines {
		m.Tick(p.now)
	}
	p.exchange(b)
}

// replicate has both send what was decided.
func (p *couple) replicate(b *testing.B) {
	for _, m := range p.machines {
		m.Replicate(p.now)
	}
	p.exchange(b)
}

// exchange delivers letters until there are none.
func (p *couple) exchange(b *testing.B) {
	for more := true; more; {
		more = false
		for i, m := range p.machines {
			m.Letters(func(_ string, l *ownership.Letters) {
				more = true
				p.deliver(b, 1-i, l)
			})
			m.Touched(func(id limiter.PartitionID) { _ = m.Route(id) })
		}
	}
}

func (p *couple) deliver(b *testing.B, to int, l *ownership.Letters) {
	m, from := p.machines[to], p.machines[1-to].Name
	if l.Frame != nil {
		m.Receive(p.now, from, 1, l.Frame)
	}
	if l.Copying == nil {
		return
	}
	wire, err := appendCopying(p.wire[:0], l.Copying)
	if err != nil {
		b.Fatal(err)
	}
	p.wire = wire
	releaseCopying(l.Copying)
	c, err := p.read[to].decode(wire)
	if err != nil {
		b.Fatal(err)
	}
	m.ReceiveCopying(p.now, from, 1, c)
}

func benchmarkCopies(b *testing.B, keys, hits int) {
	p := newCouple(b, keys)
	secrets, err := limiter.NewSecrets([]byte("a secret for benchmarks"))
	if err != nil {
		b.Fatal(err)
	}
	hasher := limiter.NewHasher(secrets, benchPartitions)
	known := make([]limiter.Key, keys)
	for i := range known {
		known[i] = hasher.Key(fmt.Sprintf("sk_live_%016x", i))
	}
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "bench", Windows: []limiter.Window{{Limit: 600, Per: time.Second}}, Concurrent: 10})
	if err != nil {
		b.Fatal(err)
	}
	hit := func(k limiter.Key) {
		holder := 0
		if p.machines[1].Route(k.Partition).Held {
			holder = 1
		}
		if d := p.tables[holder].Check(k, tier, 1, p.now); !d.Allowed {
			b.Fatalf("%+v", d)
		}
	}
	gap := limiter.Instant(2*time.Millisecond) / limiter.Instant(hits)
	beaten := p.now
	turn := func(next func() limiter.Key) {
		for range hits {
			hit(next())
			p.now += gap
		}
		if p.now.Sub(beaten) >= ownership.TickEvery {
			beaten = p.now
			p.tick(b)
		}
	}
	i := 0
	for range 2 * keys / hits {
		turn(func() limiter.Key { i++; return known[i%keys] })
		p.replicate(b)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var copying time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		turn(func() limiter.Key { return known[r.IntN(keys)] })
		begun := time.Now()
		p.replicate(b)
		copying += time.Since(begun)
	}
	b.ReportMetric(float64(copying.Nanoseconds())/float64(b.N)/float64(hits), "ns/hit")
}
