package ownership_test

import (
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// A node that falls silent while many states are on their way to it gets them when it is back. The
// bound on what is under way to one node was once taken up for good.
func TestStatesUnderWayToASilentNodeAreNotReckonedForEver(t *testing.T) {
	s := newSides(t, 40, "a")
	s.noCopies = true
	s.start("b")
	s.run(300 * time.Millisecond)
	s.side["b"] = 1 // nobody knows of it yet
	s.run(700 * time.Millisecond)
	s.side["b"], s.noCopies = 0, false
	s.up["a"].Relinked(s.now, "b")
	s.up["b"].Relinked(s.now, "a")
	s.run(30 * time.Second)
	for _, name := range s.names() {
		if is := s.up[name].Status(); is.Held != is.Owned || is.Held == 0 || is.Uncopied > 0 {
			t.Errorf("%s after half a minute: %+v", name, is)
		}
	}
}

// What a side admitted reaches the other however long it is on its way: each try takes as long. Frames
// that are as old are else not believed.
func TestRemaindersMayBeLate(t *testing.T) {
	s := newSides(t, 7, "a", "b")
	tier := tierOf(t, 10)
	s.hitApart(tier)
	s.run(time.Second)
	s.delay = func(f *ownership.Frame) time.Duration {
		if len(f.Remainders) > 0 {
			return ownership.Binding + 100*time.Millisecond
		}
		return 0
	}
	s.drains["b"] = true
	s.put("b", 0)
	s.run(30 * time.Second)
	if s.up["b"].Unsettled() {
		t.Error("b drains, and keeps what it admitted")
	}
	for p := range limiter.PartitionID(7) {
		if d := s.tables[s.holder(p, 0)].Check(keyIn(p), tier, 0, s.now); d.Remaining > 0 {
			t.Errorf("partition %d: 12 of 10 were admitted, and %d remain", p, d.Remaining)
		}
	}
}

// Large remainders are under way one or a few at a time: whoever takes them does little else.
func TestFewLargeRemaindersAreUnderWay(t *testing.T) {
	const partitions, way, most = 8, 300 * time.Millisecond, 1 << 20
	s := newSides(t, partitions, "a", "b")
	tier := tierOf(t, 10)
	s.put("b", 1)
	s.run(5 * time.Second)
	for p := range limiter.PartitionID(partitions) {
		for i := range uint64(12_000) {
			for _, name := range s.names() {
				s.tables[name].Check(limiter.Key{Partition: p, ID: limiter.IdentityOf(i+1, i*0x9e3779b97f4a7c15)}, tier, 1, s.now)
			}
		}
	}
	underWay, seen := map[string]int{}, 0 // bytes, by sender
	s.delay = func(f *ownership.Frame) time.Duration {
		if len(f.Remainders) == 0 {
			return 0
		}
		from, bytes := f.Remainders[0].Gen.Name, 0
		for _, r := range f.Remainders {
			bytes += len(r.State)
		}
		seen += bytes
		if alone := underWay[from] == 0 && len(f.Remainders) == 1; !alone && underWay[from]+bytes > most {
			t.Errorf("%d bytes follow %d that are under way", bytes, underWay[from])
		}
		underWay[from] += bytes
		s.late = append(s.late, delayed{s.now.Add(way), func() { underWay[from] -= bytes }})
		return way
	}
	s.drains["b"] = true
	s.put("b", 0)
	s.run(20 * time.Second)
	if s.up["a"].Unsettled() || s.up["b"].Unsettled() || seen <= most {
		t.Errorf("of %d bytes some are left", seen)
	}
}

// Who yields many partitions at one moment does not copy their states, which mostly nobody asks for.
func TestStatesOfPartitionsThatAreYieldedAreNotCopied(t *testing.T) {
	const partitions = 200
	s := newSides(t, partitions, "a", "b")
	tier := tierOf(t, 20)
	s.hitApart(tier)
	s.run(time.Second)
	s.put("b", 0)
	yielded := 0
	for range 20 {
		s.run(sidesStep)
		both := 0
		for _, name := range s.names() {
			both += partitions - s.up[name].Status().Held
		}
		yielded = max(yielded, both)
	}
	for _, name := range s.names() {
		if n := s.tables[name].copied; n > 0 {
			t.Errorf("%s copied %d states", name, n)
		}
	}
	if yielded < partitions {
		t.Fatalf("%d partitions were yielded: not what is to be tested", yielded)
	}
}

// A remainder that a node never takes goes again ever more rarely, and holds up no others.
func TestRemaindersThatAreNotTakenHoldUpNoOthers(t *testing.T) {
	const partitions, refused = 200, 100
	s := newSides(t, partitions)
	for _, name := range []string{"a", "b"} {
		s.start(name)
		s.tables[name].refuses = func(p limiter.PartitionID) bool { return p < refused }
	}
	s.run(5 * time.Second)
	tier := tierOf(t, 20)
	s.hitApart(tier)
	sent := 0
	s.delay = func(f *ownership.Frame) time.Duration {
		for _, r := range f.Remainders {
			if r.Partition < refused {
				sent++
			}
		}
		return 0
	}
	s.drains["b"] = true
	s.put("b", 0)
	s.run(20 * time.Second)
	for p := limiter.PartitionID(refused); p < partitions; p++ {
		if d := s.tables[s.holder(p, 0)].Check(keyIn(p), tier, 0, s.now); d.Remaining > 20-12 {
			t.Errorf("partition %d: 12 of 20 were admitted, and %d remain", p, d.Remaining)
		}
	}
	if sent == 0 || sent > 8*refused {
		t.Errorf("in 20 s %d remainders were sent of %d that nobody takes", sent, refused)
	}
}

// What a dropped copy lacks is told it also where it came from a third node, whose hits are older than
// the drop.
func TestADroppedCopyLacksWhatWasMerged(t *testing.T) {
	s := newSides(t, 7, "a", "c", "h", "k")
	p := partitionOf(s, "k", "h")
	tier := tierOf(t, 10)
	s.put("a", 1)
	s.run(5 * time.Second)
	s.hit("a", p, tier, 7)
	s.kill("k")
	s.run(3 * time.Second)
	s.put("c", 2) // h drops its copy
	s.run(5 * time.Second)
	s.put("a", 0) // h takes what a has admitted
	s.run(5 * time.Second)
	if got := s.holder(p, 0); got != "h" {
		t.Fatalf("%s holds the partition, not h: not what is to be tested", got)
	}
	s.goesOnAtC(p, tier, "a")
}

// The first hit that a dropped copy lacks is told it too, when all is told that is not older.
func TestADroppedCopyLacksTheFirstHitToo(t *testing.T) {
	s := newSides(t, 7, "c", "h", "k")
	p := partitionOf(s, "h", "c")
	tier := tierOf(t, 10)
	s.put("c", 1)
	s.hit("h", p, tier, 7)
	s.run(5 * time.Second)
	s.goesOnAtC(p, tier, "k")
}

// goesOnAtC has h admit more than it keeps for c, and c hold the partition in the end, of whose key 7
// of 10 units were admitted. other is a third node, which dies.
func (s *sides) goesOnAtC(p limiter.PartitionID, tier *limiter.Tier, other string) {
	s.t.Helper()
	wide := tierOf(s.t, 1_000_000)
	for i := range uint64(11_000) {
		s.tables["h"].Check(limiter.Key{Partition: p, ID: limiter.IdentityOf(i+1, i*0x9e3779b97f4a7c15)}, wide, 1, s.now)
		if i%100 == 0 {
			s.run(sidesStep)
		}
	}
	s.run(time.Second)
	s.kill(other)
	s.run(2 * time.Second)
	s.drains["h"] = true
	s.put("c", 0)
	s.run(10 * time.Second)
	if got := s.holder(p, 0); got != "c" {
		s.t.Fatalf("%s holds the partition, not c: not what is to be tested", got)
	}
	if d := s.tables["c"].Check(keyIn(p), tier, 0, s.now); d.Remaining > 3 {
		s.t.Errorf("7 of 10 were admitted, and %d remain", d.Remaining)
	}
}

// A remainder is merged at one go, however many changes it has: each time a history is written anew,
// and with thousands of hits a node stood still for longer than others wait for it.
func TestARemainderIsMergedOnce(t *testing.T) {
	s := newSides(t, 7, "a", "b", "c")
	tier := tierOf(t, 10_000)
	p := limiter.PartitionID(0)
	holder := s.holder(p, 0)
	copyAt := s.up[holder].Copies(p)[0]
	admitted := uint32(0)
	hit := func(d time.Duration) {
		for end := s.now.Add(d); s.now < end; s.run(sidesStep) {
			if s.tables[holder].Check(keyIn(p), tier, 1, s.now).Allowed {
				admitted++
			}
		}
	}
	hit(2 * time.Second)
	s.put(copyAt, 1)
	hit(5 * time.Second)
	s.put(copyAt, 0)
	remainders := 0
	s.delay = func(f *ownership.Frame) time.Duration {
		remainders += len(f.Remainders)
		return 0
	}
	s.run(10 * time.Second)
	merges := 0
	for _, table := range s.tables {
		merges += table.merges
	}
	if merges == 0 || merges > remainders {
		t.Errorf("%d remainders were merged in %d steps", remainders, merges)
	}
	if d := s.tables[s.holder(p, 0)].Check(keyIn(p), tier, 0, s.now); d.Remaining != 10_000-admitted {
		t.Errorf("%d were admitted, and of 10,000 remain %d", admitted, d.Remaining)
	}
}
