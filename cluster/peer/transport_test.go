package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

func TestLettersArriveInOrderAndWhole(t *testing.T) {
	a, b := pair(t)
	const n = 2000
	for i := range uint64(n) {
		a.Send("b", &ownership.Letters{
			Frame:   &ownership.Frame{Stamp: limiter.Instant(i), Leaves: []ownership.Leave{{Partition: 3, Number: i}}},
			Copying: &ownership.Copying{Stamp: limiter.Instant(i), Deltas: []ownership.Delta{{Partition: 3, Number: i}}},
		})
	}
	eventually(t, "all has arrived", func() bool { return len(b.heardFrames()) == n && len(b.heardCopies()) == n })
	for i, f := range b.heardFrames() {
		if f.Stamp != limiter.Instant(i) || f.Leaves[0].Number != uint64(i) {
			t.Fatalf("frame %d is %+v", i, f)
		}
	}
	for i, c := range b.heardCopies() {
		if c.Deltas[0].Number != uint64(i) {
			t.Fatalf("copying %d is %+v", i, c)
		}
	}
}

func TestALargeStateHoldsUpNoOtherLetter(t *testing.T) {
	a, b := pair(t)
	state := make([]byte, 20<<20)
	for i := range state {
		state[i] = byte(rand.Uint32())
	}
	a.Send("b", &ownership.Letters{
		Copying: &ownership.Copying{
			Snapshots: []ownership.Snapshot{{Partition: 1, State: state}, {Partition: 2, State: []byte("small")}},
			Deltas:    []ownership.Delta{{Partition: 1, Number: 1}, {Partition: 2, Number: 2}, {Partition: 3, Number: 3}},
			Acks:      []ownership.Ack{{Partition: 4}},
		},
		Frame: &ownership.Frame{Remainders: []ownership.Remainder{{Partition: 9, State: state[:5<<20]}}},
	})
	a.Send("b", &ownership.Letters{Frame: &ownership.Frame{Leaves: []ownership.Leave{{Partition: 7}}}})
	type item struct {
		partition limiter.PartitionID
		what      string
	}
	var got []item
	eventually(t, "all has arrived", func() bool {
		got = nil
		for _, c := range b.heardCopies() {
			for _, s := range c.Snapshots {
				got = append(got, item{s.Partition, "state"})
			}
			for _, d := range c.Deltas {
				got = append(got, item{d.Partition, "delta"})
			}
			for _, a := range c.Acks {
				got = append(got, item{a.Partition, "ack"})
			}
		}
		return len(got) == 6 && len(b.heardFrames()) == 2
	})
	at := func(p limiter.PartitionID, what string) int { return slices.Index(got, item{p, what}) }
	if at(1, "state") > at(1, "delta") || at(2, "state") > at(2, "delta") {
		t.Errorf("a change overtook the state that it follows: %v", got)
	}
	if at(3, "delta") > at(1, "state") || at(4, "ack") > at(1, "state") {
		t.Errorf("others waited for a large state: %v", got)
	}
	for _, c := range b.heardCopies() {
		for _, s := range c.Snapshots {
			if s.Partition == 1 && !bytes.Equal(s.State, state) {
				t.Error("the large state was not put together as it was")
			}
		}
	}
	frames := b.heardFrames()
	if len(frames[0].Leaves) != 1 || !bytes.Equal(frames[1].Remainders[0].State, state[:5<<20]) {
		t.Error("a frame waited for a larger one, or that has changed")
	}
}

func TestWhatCannotBeQueuedIsDroppedAndCopiesBeginAnew(t *testing.T) {
	a, b := pair(t)
	b.mu.Lock()
	b.hold = make(chan struct{})
	b.mu.Unlock()
	before := a.relinks()
	state := make([]byte, 1<<20)
	for i := range 200 { // more than fits the queue and all buffers on the way
		a.Send("b", &ownership.Letters{
			Copying: &ownership.Copying{Snapshots: []ownership.Snapshot{{Partition: limiter.PartitionID(i), State: state}}},
			Frame:   &ownership.Frame{Remainders: []ownership.Remainder{{State: state}}},
		})
	}
	close(b.hold)
	eventually(t, "the stream for copies began anew", func() bool { return a.relinks() > before })
	eventually(t, "all is connected again", func() bool { return a.connected("b") })
	a.Send("b", &ownership.Letters{
		Copying: &ownership.Copying{Acks: []ownership.Ack{{Partition: 999}}},
		Frame:   &ownership.Frame{Leaves: []ownership.Leave{{Partition: 999}}},
	})
	eventually(t, "letters arrive again", func() bool {
		return slices.ContainsFunc(b.heardCopies(), func(c *ownership.Copying) bool { return len(c.Acks) == 1 }) &&
			slices.ContainsFunc(b.heardFrames(), func(f *ownership.Frame) bool { return len(f.Leaves) == 1 })
	})
	if copies, frames := len(b.heardCopies()), len(b.heardFrames()); copies >= 200 || frames >= 200 {
		t.Errorf("all of %d copies and %d frames had room", copies-1, frames-1)
	}
}

func TestANodeThatEndsIsGone(t *testing.T) {
	a, b := pair(t)
	b.stop()
	within(t, 2*time.Second, "b is gone", func() bool { return slices.Contains(a.heardGone(), Address{"b", "1"}) })
	if n := len(a.heardGone()); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestAKilledProcessIsGoneAfterAllThatItSent(t *testing.T) {
	a := start(t, "a", 1)
	cmd, addr, printed := startChild(t, a.addr)
	a.SetPeers([]Address{{"child", addr}})
	for printed.Scan() && len(printed.Text()) < 4 { // until it has sent a thousand letters
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	within(t, 2*time.Second, "the child is gone", func() bool { return len(a.heardGone()) > 0 })
	t.Logf("gone after %v", time.Since(killed))
	copies := a.heardCopies()
	a.mu.Lock()
	events := a.events
	a.mu.Unlock()
	if events[len(events)-1] != "gone child" || len(copies) < 900 {
		t.Errorf("%d letters were handed over, the last event was %q", len(copies), events[len(events)-1])
	}
	if got := a.heardGone(); got[0] != (Address{"child", "5"}) {
		t.Errorf("gone: %v", got)
	}
}

func TestANodeThatHangsIsNotGone(t *testing.T) {
	a, b := start(t, "a", 1), start(t, "b", 1)
	r := newRelay(t, b.addr)
	a.SetPeers([]Address{{"b", r.addr}})
	b.SetPeers([]Address{{"a", a.addr}})
	eventually(t, "they are connected", func() bool { return a.connected("b") })
	r.setHeld(true)
	r.l.Close() // and nobody could connect
	// When the silence is noticed, a is refused; but streams from b are open.
	eventually(t, "it tried in vain", func() bool { return a.log.count("connection refused") > 2 })
	if gone := a.heardGone(); len(gone) > 0 {
		t.Errorf("gone: %v", gone)
	}
}

// A connection that carries nothing any more, which no side is told of, is given up, whatever it
// was for. It once was not, for copies and for calls, and what was held and copied between the
// two was not decided any more.
func TestADeadConnectionIsGivenUp(t *testing.T) {
	for i := range laneKinds {
		t.Run(i.String(), func(t *testing.T) {
			t.Parallel()
			a, b := start(t, "a", 1), start(t, "b", 1)
			r := newRelay(t, b.addr)
			a.SetPeers([]Address{{"b", r.addr}})
			b.SetPeers([]Address{{"a", a.addr}})
			eventually(t, "they are connected", func() bool { return a.connected("b") })
			r.kill(int(i))
			began := time.Now()
			frames, copies := len(a.heardFrames()), len(a.heardCopies())
			eventually(t, "all goes on", func() bool {
				b.Send("a", &ownership.Letters{Frame: new(ownership.Frame), Copying: &ownership.Copying{Acks: []ownership.Ack{{Partition: 1}}}})
				answered := make(chan Answer, 1)
				call := &Call{Kind: Check, Tier: "t", Deadline: now().Add(50 * time.Millisecond)}
				a.Forward(t.Context(), "b", []*Call{call}, func(_ int, a Answer) { answered <- a })
				answer := <-answered
				return len(a.heardFrames()) > frames && len(a.heardCopies()) > copies && !answer.Undecided && !answer.Unknown
			})
			t.Logf("after %v", time.Since(began))
		})
	}
}

// Whoever greets and then ends the stream is asked again after a pause, whatever streams begin
// and end meanwhile. Two nodes that refused each other once did nothing else any more.
func TestRefusedStreamsPause(t *testing.T) {
	a, b := start(t, "a", 5), start(t, "b", 1)
	a.SetPeers([]Address{{"b", b.addr}})
	b.SetPeers([]Address{{"a", a.addr}})
	eventually(t, "they are connected", func() bool { return a.connected("b") })
	// Another a, of an earlier life: b greets it, and refuses its streams.
	earlier := start(t, "a", 3)
	b.SetPeers([]Address{{"a", earlier.addr}})
	earlier.SetPeers([]Address{{"b", b.addr}})
	eventually(t, "it is refused", func() bool { return b.inMsgs.Load() > 0 && earlier.log.count("later life") > 0 })
	before, begun := b.inMsgs.Load()+earlier.inMsgs.Load(), time.Now()
	// Six lanes, each after 0, 20, 40, 80, 160 ms and so on: one of them tries for the sixth time. The rest is a's signs.
	eventually(t, "they try again", func() bool { return b.inMsgs.Load()+earlier.inMsgs.Load()-before >= 42 })
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("36 tries took no longer than %v", took)
	}
}

func TestRefusals(t *testing.T) {
	a, b, c := start(t, "a", 1), start(t, "b", 1), start(t, "c", 1, cluster(8))
	a.SetPeers([]Address{{"x", b.addr}, {"c", c.addr}})
	eventually(t, "the reasons are told", func() bool {
		return a.log.count(`this is node \"b\", not \"x\"`) == 1 && a.log.count("the key file differs") == 1
	})
	a.Send("x", &ownership.Letters{Frame: new(ownership.Frame)})
	twin := start(t, "b", 9)
	b.SetPeers([]Address{{"a", twin.addr}})
	twin.SetPeers([]Address{{"c", b.addr}})
	eventually(t, "the twin is told", func() bool { return b.log.count("there are two nodes named") > 0 })
	eventually(t, "b learns of a higher boot", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Contains(b.newer, 9)
	})
	if len(b.heardFrames()) > 0 || a.connected("c") {
		t.Error("nodes that do not fit together talk")
	}
}

func TestBoots(t *testing.T) {
	a := start(t, "a", 1)
	l := listen(t, "127.0.0.1:0")
	b := startAt(t, l, "b", 5)
	meet(t, a, b)
	b.stop()
	eventually(t, "b is gone", func() bool { return len(a.heardGone()) == 1 })
	// It comes back elsewhere with a lower boot, by mistake.
	again := start(t, "b", 3)
	again.SetPeers([]Address{{"a", a.addr}})
	a.SetPeers([]Address{{"b", again.addr}})
	eventually(t, "it is told of the higher one", func() bool {
		again.mu.Lock()
		defer again.mu.Unlock()
		return slices.Contains(again.newer, 5)
	})
	if a.connected("b") {
		t.Error("an earlier life is talked to")
	}
	again.SetBoot(6)
	eventually(t, "they are connected", func() bool { return a.connected("b") && again.connected("a") })
	a.Send("b", &ownership.Letters{Frame: new(ownership.Frame)})
	eventually(t, "letters arrive", func() bool { return len(again.heardFrames()) == 1 })
	again.stop()
	eventually(t, "that life is gone too", func() bool { return slices.Contains(a.heardGone(), Address{"b", "6"}) })
}

func TestNodesThatAreListedNoMore(t *testing.T) {
	a, b := pair(t)
	a.SetPeers(nil)
	a.Send("b", &ownership.Letters{Frame: new(ownership.Frame)})
	eventually(t, "it is heard all the same", func() bool { return len(b.heardFrames()) == 1 })
	b.stop()
	eventually(t, "it is gone, and forgotten", func() bool { return len(a.heardGone()) == 1 && a.node("b") == nil })
}

func TestAnAddressChanges(t *testing.T) {
	a, b := pair(t)
	r := newRelay(t, b.addr)
	a.SetPeers([]Address{{"b", r.addr}})
	eventually(t, "it is connected there", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.conns) == 2*int(laneKinds) && a.connected("b")
	})
	b.Send("a", &ownership.Letters{Frame: new(ownership.Frame)})
	eventually(t, "letters arrive", func() bool { return len(a.heardFrames()) == 1 })
	relinks := b.relinks()
	r.cut()
	eventually(t, "the stream for copies began anew", func() bool { return b.relinks() > relinks && a.connected("b") })
	if len(a.heardGone()) > 0 {
		t.Error("a node that can be reached is gone")
	}
}

func TestGarbageEndsTheStreamOnly(t *testing.T) {
	var told []string
	r := reader{deliver: func(b []byte) error {
		told = append(told, string(b))
		return nil
	}}
	for _, p := range []*post{
		{letters: [][]byte{[]byte("1")}},
		{part: []byte("2a"), hasPart: true},
		{letters: [][]byte{[]byte("3")}},
		{part: []byte("2b"), hasPart: true, last: true},
	} {
		if err := r.take(p); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(told, " "); got != "1 3 2a2b" {
		t.Errorf("got %q", got)
	}
	if _, err := decodeFrame([]byte{0xff}); err == nil {
		t.Error("garbage is a frame")
	}
	if fmt.Sprint(frameLane, copyLane, callLane) != "frames copies calls" {
		t.Error("kinds have no names")
	}
}
