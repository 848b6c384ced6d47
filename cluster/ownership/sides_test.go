package ownership_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// sides are machines of which those hear each other that are on the same side.
type sides struct {
	t          *testing.T
	partitions int
	minMembers int
	now        limiter.Instant
	up         map[string]*ownership.Machine
	tables     map[string]*counted
	side       map[string]int
	drains     map[string]bool

	noCopies bool                                   // those that are sent are under way
	delay    func(f *ownership.Frame) time.Duration // of frames; may be nil
	late     []delayed
}

type delayed struct {
	at      limiter.Instant
	deliver func()
}

func newSides(t *testing.T, partitions int, names ...string) *sides {
	s := &sides{
		t: t, partitions: partitions, minMembers: 1, now: limiter.Instant(100 * time.Hour),
		up: map[string]*ownership.Machine{}, tables: map[string]*counted{}, side: map[string]int{}, drains: map[string]bool{},
	}
	for _, name := range names {
		s.start(name)
	}
	s.run(5 * time.Second)
	return s
}

func (s *sides) start(name string) {
	table, err := limiter.NewTable(limiter.Config{Partitions: s.partitions, MaxKeys: 1_000_000, LargestLimit: 1_000_000, Shared: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.tables[name] = &counted{Table: table}
	s.up[name] = ownership.New(ownership.Config{
		Name: name, Boot: 1, Partitions: s.partitions, Store: s.tables[name], Rand: rand.New(rand.NewPCG(1, uint64(len(s.up)))),
		Horizon: 10 * time.Minute, MinMembers: s.minMembers, Start: s.now,
	})
	s.tables[name].of = s.up[name]
	s.look()
}

// counted is a table that counts merges, and snapshots of what is not held, and refuses merges of some
// partitions.
type counted struct {
	*limiter.Table
	of      *ownership.Machine
	merges  int
	copied  int
	refuses func(limiter.PartitionID) bool // may be nil
}

func (c *counted) Snapshot(dst []byte, p limiter.PartitionID, since limiter.Instant) ([]byte, uint64) {
	if !c.of.Route(p).Held {
		c.copied++
	}
	return c.Table.Snapshot(dst, p, since)
}

func (c *counted) Merge(p limiter.PartitionID, other []limiter.Piece, shift time.Duration, now limiter.Instant) error {
	if c.refuses != nil && c.refuses(p) {
		return errors.New("refused")
	}
	c.merges++
	return c.Table.Merge(p, other, shift, now)
}

func (s *sides) kill(name string) {
	delete(s.up, name)
	for _, o := range s.up {
		o.Gone(s.now, name, 1)
	}
	s.look()
}

// put puts a node on a side.
func (s *sides) put(name string, side int) {
	s.side[name] = side
	s.look()
}

func (s *sides) names() []string { return slices.Sorted(maps.Keys(s.up)) }

// look lets all go by the view of their side.
func (s *sides) look() {
	for _, name := range s.names() {
		var members []ring.Member
		for _, other := range s.names() {
			if s.side[other] == s.side[name] {
				members = append(members, ring.Member{Name: other, Boot: 1, Draining: s.drains[other]})
			}
		}
		view, err := ring.Build(members, s.partitions)
		if err != nil {
			s.t.Fatal(err)
		}
		s.up[name].SetView(s.now, view)
	}
}

const sidesStep = 10 * time.Millisecond

func (s *sides) run(d time.Duration) {
	for end := s.now.Add(d); s.now < end; {
		s.now = s.now.Add(sidesStep)
		s.deliverLate()
		for _, name := range s.names() {
			if int64(s.now)%int64(ownership.TickEvery) == 0 {
				s.up[name].Tick(s.now)
			}
			s.up[name].Replicate(s.now)
		}
		s.deliver()
	}
}

func (s *sides) deliverLate() {
	due := s.late
	s.late = nil
	for _, l := range due {
		if l.at > s.now {
			s.late = append(s.late, l)
		} else {
			l.deliver()
		}
	}
}

// deliver lets letters go to and fro until nobody has anything to say.
func (s *sides) deliver() {
	for said := true; said; {
		said = false
		for _, from := range s.names() {
			s.up[from].Touched(func(limiter.PartitionID) {})
			s.up[from].Letters(func(to string, l *ownership.Letters) {
				said = true
				if s.up[to] != nil && s.side[to] == s.side[from] {
					s.bring(from, to, l)
				}
			})
		}
	}
}

func (s *sides) bring(from, to string, l *ownership.Letters) {
	o := s.up[to]
	if l.Frame != nil {
		var delay time.Duration
		if s.delay != nil {
			delay = s.delay(l.Frame)
		}
		if delay > 0 {
			s.late = append(s.late, delayed{s.now.Add(delay), func() { o.Receive(s.now, from, 1, l.Frame) }})
		} else {
			o.Receive(s.now, from, 1, l.Frame)
		}
	}
	if l.Copying != nil && !s.noCopies {
		o.ReceiveCopying(s.now, from, 1, l.Copying)
	}
}

// holder returns who may decide for a partition, of those on a side.
func (s *sides) holder(p limiter.PartitionID, side int) string {
	for _, name := range s.names() {
		if r := s.up[name].Route(p); r.Held && r.Until > s.now && s.side[name] == side {
			return name
		}
	}
	s.t.Fatalf("nobody on side %d may decide for partition %d", side, p)
	return ""
}

// hit has a node admit so many requests of a partition's key.
func (s *sides) hit(name string, p limiter.PartitionID, tier *limiter.Tier, n int) {
	s.t.Helper()
	for range n {
		if d := s.tables[name].Check(keyIn(p), tier, 1, s.now); !d.Allowed {
			s.t.Fatalf("%s does not admit a hit of partition %d: %+v", name, p, d)
		}
	}
}

// hitApart puts b on a side of its own, and has a and b each admit 6 requests of every partition's key.
func (s *sides) hitApart(tier *limiter.Tier) {
	s.t.Helper()
	s.put("b", 1)
	s.run(5 * time.Second)
	for p := range limiter.PartitionID(s.partitions) {
		s.hit("a", p, tier, 6)
		s.hit("b", p, tier, 6)
	}
}

func tierOf(t *testing.T, limit uint32) *limiter.Tier {
	t.Helper()
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "t", Windows: []limiter.Window{{Limit: limit, Per: 10 * time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	return tier
}

// partitionOf returns a partition that a node holds of which another has the only copy.
func partitionOf(s *sides, holder, copyAt string) limiter.PartitionID {
	for p := range limiter.PartitionID(s.partitions) {
		if s.holder(p, 0) == holder && slices.Equal(s.up[holder].Copies(p), []string{copyAt}) {
			return p
		}
	}
	s.t.Fatalf("%s has no copy of a partition of %s: not what is to be tested", copyAt, holder)
	return 0
}
