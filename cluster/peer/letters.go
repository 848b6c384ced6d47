package peer

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// A letter is a frame or a copying as it goes over the wire: append and decode are each
// other's inverse.

// Upper bounds of what an item takes on the wire, beside the bytes and names in it.
const (
	itemBytes = 96
	heldBytes = 20
)

func nameBytes(g ownership.Generation) int { return len(g.Name) + 48 }

func changesBytes(c *limiter.Changes) int { return itemBytes + len(c.Bytes) }

func positionsBytes(ps []ownership.Position) int {
	n := 0
	for i := range ps {
		n += itemBytes + nameBytes(ps[i].Gen)
	}
	return n
}

// frameBytes returns no less than what f takes on the wire.
func frameBytes(f *ownership.Frame) int {
	n := itemBytes * (1 + len(f.Asks) + len(f.Pledges) + len(f.Stands) + len(f.Votes) + len(f.Withdrawals) +
		len(f.Commits) + len(f.Leaves) + len(f.Lefts) + len(f.Remainders) + len(f.Taken))
	if f.Heartbeat != nil {
		n += heldBytes * (1 + len(f.Heartbeat.Held))
	}
	for i := range f.Asks {
		n += nameBytes(f.Asks[i].Parent.Gen)
	}
	for i := range f.Pledges {
		n += nameBytes(f.Pledges[i].Known)
	}
	for i := range f.Stands {
		n += nameBytes(f.Stands[i].At.Gen)
	}
	for i := range f.Votes {
		n += nameBytes(f.Votes[i].Known)
	}
	for i := range f.Commits {
		n += nameBytes(f.Commits[i].At.Gen)
		for _, name := range f.Commits[i].Copies {
			n += len(name) + 4
		}
	}
	for i := range f.Remainders {
		r := &f.Remainders[i]
		n += nameBytes(r.Gen) + positionsBytes(r.Past) + len(r.State)
		for j := range r.Changes {
			n += changesBytes(&r.Changes[j].Changes) + nameBytes(r.Changes[j].Mark.Gen)
		}
	}
	for i := range f.Taken {
		n += nameBytes(f.Taken[i].Gen)
	}
	return n
}

func snapshotBytes(s *ownership.Snapshot) int {
	return itemBytes + nameBytes(s.At.Gen) + positionsBytes(s.Past) + len(s.State)
}

func deltaBytes(d *ownership.Delta) int {
	return itemBytes + changesBytes(&d.Changes) + nameBytes(d.Mark.Gen)
}

func ackBytes(a *ownership.Ack) int { return itemBytes + nameBytes(a.At.Gen) }

// lives numbers the lives that a letter refers to.
type lives struct {
	list  []life
	index map[life]uint32 // of those behind the first few
}

type life struct {
	name string
	boot uint64
}

// fewLives is how many are looked through one by one: mostly all that there are.
const fewLives = 8

func (l *lives) of(g ownership.Generation) uint32 {
	key := life{g.Name, g.Boot}
	if i := slices.Index(l.list[:min(len(l.list), fewLives)], key); i >= 0 {
		return uint32(i)
	}
	if i, ok := l.index[key]; ok {
		return i
	}
	i := uint32(len(l.list))
	l.list = append(l.list, key)
	if i >= fewLives {
		if l.index == nil {
			l.index = make(map[life]uint32)
		}
		l.index[key] = i
	}
	return i
}

func (l *lives) generation(g ownership.Generation) *peerv1.Generation {
	if g == (ownership.Generation{}) {
		return nil
	}
	return &peerv1.Generation{Number: g.Number, Life: l.of(g)}
}

func (l *lives) position(p ownership.Position) *peerv1.Position {
	if p == (ownership.Position{}) {
		return nil
	}
	return &peerv1.Position{Number: p.Gen.Number, Life: l.of(p.Gen), Sequence: p.Seq}
}

func (l *lives) positions(ps []ownership.Position) []*peerv1.Position {
	return each(ps, func(p *ownership.Position) *peerv1.Position {
		return &peerv1.Position{Number: p.Gen.Number, Life: l.of(p.Gen), Sequence: p.Seq}
	})
}

// each returns what turn makes of each of items.
func each[A, B any](items []A, turn func(*A) B) []B {
	if len(items) == 0 {
		return nil
	}
	turned := make([]B, len(items))
	for i := range items {
		turned[i] = turn(&items[i])
	}
	return turned
}

// A reading is a letter that is being decoded. The first thing that is wrong stays in err.
type reading struct {
	lives []life
	err   error
}

var errPartition = errors.New("partition: is above 65535")

func (r *reading) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reading) partition(p uint32) limiter.PartitionID {
	if p > math.MaxUint16 {
		r.fail(errPartition)
	}
	return limiter.PartitionID(p)
}

func (r *reading) life(number uint64, i uint32) ownership.Generation {
	if int64(i) >= int64(len(r.lives)) {
		r.fail(fmt.Errorf("life: is %d, and there are %d lives", i, len(r.lives)))
		return ownership.Generation{}
	}
	l := r.lives[i]
	return ownership.Generation{Number: number, Name: l.name, Boot: l.boot}
}

func (r *reading) generation(g *peerv1.Generation) ownership.Generation {
	if g == nil {
		return ownership.Generation{}
	}
	return r.life(g.GetNumber(), g.GetLife())
}

func (r *reading) position(p *peerv1.Position) ownership.Position {
	if p == nil {
		return ownership.Position{}
	}
	return ownership.Position{Gen: r.life(p.GetNumber(), p.GetLife()), Seq: p.GetSequence()}
}

func (r *reading) positions(ps []*peerv1.Position) []ownership.Position {
	return each(ps, func(p **peerv1.Position) ownership.Position { return r.position(*p) })
}
