package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var (
	keyOld = bytes.Repeat([]byte{1}, 16)
	keyNew = bytes.Repeat([]byte{2}, 32)
)

// stranger starts a cluster of two and a node that cannot be a member of it, and checks that none of them
// ever takes the other for one.
func stranger(t *testing.T, ours, theirs func(*Config)) (a, x *logbook) {
	t.Helper()
	a, x = new(logbook), new(logbook)
	nodes := startAll(t, 2, func(i int, c *Config) {
		if i == 0 {
			c.Log = a.logger()
		}
		if ours != nil {
			ours(c)
		}
	})
	c := configOf("x", nodes[0].Addr(), nodes[1].Addr())
	c.Log = x.logger()
	if ours != nil {
		ours(&c)
	}
	theirs(&c)
	other := start(t, c)
	eventually(t, "the cluster says whom it refuses", func() bool { return len(a.lines("WARN", "refused")) > 0 })
	during(t, 5*quick.Rejoin, "neither takes the other for a member", func() bool {
		known := names(nodes[0]) + names(nodes[1])
		return !strings.Contains(known, "x") && names(other) == "x" && !other.Joined()
	})
	return a, x
}

// Nodes that differ in what must agree refuse each other; both say so once, with what each has.
func TestIncompatibleNodesAreRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change  func(*Config)
		says    string
		ours, x string
	}{
		"ring":     {func(c *Config) { c.Meta.Ring = 0x123 }, "ring configuration", "0000000000000abc", "0000000000000123"},
		"keys":     {func(c *Config) { c.Meta.Keys = 0x456 }, "key file", "0000000000000def", "0000000000000456"},
		"protocol": {func(c *Config) { c.Meta.Protocol = 2 }, "protocol version", "1", "2"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, x := stranger(t, nil, c.change)
			if got := a.lines("WARN", "refused", "member=x", c.says, "ours "+c.ours, "theirs "+c.x); len(got) != 1 {
				t.Errorf("the cluster says %d times what differs: %q", len(got), a.lines())
			}
			eventually(t, "the refused node says so too", func() bool {
				return len(x.lines("WARN", "refused", "member=a", c.says, "ours "+c.x, "theirs "+c.ours)) == 1
			})
		})
	}
}

// What cannot even be read is refused with what is known of it.
func TestUnreadableNodesAreRefused(t *testing.T) {
	t.Parallel()
	encrypted := func(c *Config) { c.Keys = [][]byte{keyOld} }
	for what, c := range map[string]struct {
		ours, theirs func(*Config)
		says         string
	}{
		"another key":   {encrypted, func(c *Config) { c.Keys = [][]byte{keyNew} }, "gossip key is none of ours"},
		"no key":        {encrypted, func(c *Config) { c.Keys = nil }, "does not encrypt"},
		"a key":         {nil, encrypted, "encrypts its gossip, we do not"},
		"another label": {nil, func(c *Config) { c.Label = "staging" }, "label differs"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, x := stranger(t, c.ours, c.theirs)
			if got := a.lines("WARN", "refused", "host=127.0.0.1", c.says); len(got) != 1 {
				t.Errorf("the cluster says %d times what differs: %q", len(got), a.lines())
			}
			eventually(t, "the other says that it reached nobody", func() bool { return len(x.lines("WARN", "no member was reached")) > 0 })
		})
	}
}

func TestLabelsAreTold(t *testing.T) {
	t.Parallel()
	a, _ := stranger(t, func(c *Config) { c.Label = "production" }, func(c *Config) { c.Label = "staging" })
	if len(a.lines(`staging`)) == 0 {
		t.Errorf("the other's label is not told: %q", a.lines())
	}
}

// Keys are exchanged in three rollouts, at each of which every node hears every other, whoever has
// started anew.
func TestKeysAreExchanged(t *testing.T) {
	t.Parallel()
	for what, keys := range map[string][2][][]byte{
		"the new one is known":   {{keyOld}, {keyOld, keyNew}},
		"the new one encrypts":   {{keyOld, keyNew}, {keyNew, keyOld}},
		"the old one is dropped": {{keyNew, keyOld}, {keyNew}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var log logbook
			nodes := startAll(t, 4, func(i int, c *Config) {
				c.Keys = keys[i%2]
				c.Log = log.logger()
			})
			for i, from := range nodes {
				m := memberNamed(from, string(rune('a'+i)))
				m.Policy = uint64(i + 1)
				if err := from.Update(m); err != nil {
					t.Fatal(err)
				}
				for _, g := range nodes {
					eventually(t, "news of one are heard by all", func() bool { return memberNamed(g, m.Name).Policy == m.Policy })
				}
			}
			if got := log.lines("refused"); len(got) != 0 {
				t.Errorf("%q", got)
			}
		})
	}
}

// A stuckLog is a log whose reader has gone to lunch.
type stuckLog struct {
	slog.Handler
	release chan struct{}
}

func (l stuckLog) Enabled(context.Context, slog.Level) bool { return true }
func (l stuckLog) Handle(context.Context, slog.Record) error {
	<-l.release
	return nil
}

func TestStuckLogHoldsUpNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Log = slog.New(stuckLog{release: release}) })
	t.Cleanup(func() {
		for _, g := range nodes {
			g.Shutdown()
		}
	})
	defer close(release)
	for range 2 * journalLines {
		nodes[0].journal.debug("chatter")
	}
	nodes[2].list.Shutdown()
	eventually(t, "the death is found out", func() bool { return names(nodes[0]) == "a b" && names(nodes[1]) == "a b" })
}

func TestSameComplaintOnceAMinute(t *testing.T) {
	t.Parallel()
	j := newJournal(slog.New(slog.DiscardHandler))
	now := time.Now()
	for _, c := range []struct {
		key   string
		after time.Duration
		want  bool
	}{
		{"x", 0, true}, {"x", onceEvery - 1, false}, {"y", onceEvery - 1, true}, {"x", onceEvery, true}, {"x", onceEvery + 1, false},
	} {
		if got := j.due(c.key, now.Add(c.after)); got != c.want {
			t.Errorf("%s after %v: %v", c.key, c.after, got)
		}
	}
	for i := range 3 * maxOnce {
		j.due(strings.Repeat("z", i), now)
	}
	if len(j.last) > maxOnce {
		t.Errorf("%d complaints are remembered", len(j.last))
	}
}
