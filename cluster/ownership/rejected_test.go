package ownership_test

import (
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// What the store does not take is told, with who sent it. It once was dropped in silence, and came
// again for ever.
func TestWhatIsNotTakenIsTold(t *testing.T) {
	m := newMesh(t)
	var told []string
	var of limiter.PartitionID
	m.rejected = func(p limiter.PartitionID, from string, err error) {
		of = p
		told = append(told, from+": "+err.Error())
	}
	m.start("a")
	m.start("b")
	m.run(5 * time.Second)
	var p limiter.PartitionID // that a holds, with a copy at b
	for !m.up["a"].Route(p).Held {
		p++
	}
	if len(told) > 0 || len(m.up["a"].Copies(p)) != 1 {
		t.Fatalf("at first %q are told, and partition %d has copies at %v", told, p, m.up["a"].Copies(p))
	}
	garbled := []byte{0xff}
	gen := m.up["a"].Route(p).Gen
	next := ownership.Generation{Number: gen.Number + 1, Name: "a", Boot: 1}
	remainder := func(r ownership.Remainder) {
		r.Partition, r.Gen, r.Last = p, ownership.Generation{Number: 1, Name: "b", Boot: 1}, 9
		m.up["a"].Receive(m.now, "b", 1, &ownership.Frame{Stamp: m.now, Remainders: []ownership.Remainder{r}})
	}
	copying := func(c ownership.Copying) {
		c.Stamp = m.now
		m.up["b"].ReceiveCopying(m.now, "a", 1, &c)
	}
	for _, c := range []struct {
		what, want string
		send       func()
	}{
		{"a snapshot", "a: snapshot: the format", func() {
			copying(ownership.Copying{Snapshots: []ownership.Snapshot{{Partition: p, At: ownership.Position{Gen: next, Seq: 1}, State: garbled}}})
		}},
		{"changes", "a: changes: the format", func() {
			last := limiter.Changes{First: 1, Last: 1 << 40, Bytes: garbled}
			copying(ownership.Copying{Deltas: []ownership.Delta{{Partition: p, Number: gen.Number, Changes: last}}})
		}},
		{"a remainder", "b: snapshot: the format", func() { remainder(ownership.Remainder{State: garbled}) }},
		{"a remainder's changes", "b: snapshot: the format", func() {
			remainder(ownership.Remainder{Changes: []ownership.Stretch{{Changes: limiter.Changes{First: 1, Last: 9, Bytes: garbled}}}})
		}},
	} {
		told = nil
		c.send()
		if len(told) != 1 || of != p || !strings.Contains(told[0], c.want) {
			t.Errorf("%s: of partition %d %q is told, want of %d %q", c.what, of, told, p, c.want)
		}
	}
}
