package gossip

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestNodesMeet(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, nil)
	for i, g := range nodes {
		if got := names(g); got != "a b c" {
			t.Errorf("node %d knows %q", i, got)
		}
		if !g.Joined() {
			t.Errorf("node %d knows two others and has not joined", i)
		}
		for j, other := range nodes {
			m := g.Members()[j]
			if m.Gossip != other.Addr() || m.Peer != "127.0.0.1:7071" || m.Ring != 0xabc || m.Boot != 1 {
				t.Errorf("node %d knows node %d as %+v", i, j, m)
			}
		}
	}
}

func TestLoneNodeHasNotJoined(t *testing.T) {
	t.Parallel()
	g := start(t, configOf("a"))
	if g.Joined() || names(g) != "a" {
		t.Errorf("joined %v, members %q", g.Joined(), names(g))
	}
}

// A node that dies without a word is found out within seconds, with the default clockwork.
func TestDeathIsFoundOut(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Timing = Timing{} })
	died := time.Now()
	nodes[1].Shutdown()
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		eventually(t, "the dead node is no member", func() bool { return names(g) == "a c" })
	}
	// 1.5 to 2.5 s on an idle machine; the bound is for a busy one, and far from memberlist's 5 to 6 s
	// only there.
	t.Logf("known to all after %v", time.Since(died))
	if d := time.Since(died); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestLeaveIsTold(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Timing.Probe = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := nodes[1].Leave(ctx); err != nil {
		t.Error(err)
	}
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		eventually(t, "the member that left is gone, though nobody probes", func() bool { return names(g) == "a c" })
	}
	if err := nodes[1].Update(Meta{Name: "b"}); !errors.Is(err, ErrStopped) {
		t.Errorf("a node that left takes new metadata: %v", err)
	}
}

func TestLeaveWithDoneContext(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 2, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := nodes[0].Leave(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestUpdateIsTold(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, nil)
	m := memberNamed(nodes[1], "b")
	m.Draining, m.Boot, m.Policy = true, 7, 99
	if err := nodes[1].Update(m); err != nil {
		t.Fatal(err)
	}
	for _, g := range nodes {
		eventually(t, "all know the new metadata", func() bool { return memberNamed(g, "b") == m })
		if g.Highest("b") != 7 {
			t.Errorf("the highest boot number of b is %d", g.Highest("b"))
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	g := start(t, configOf("a"))
	for what, change := range map[string]func(*Meta){
		"another name": func(m *Meta) { m.Name = "b" },
		"no name":      func(m *Meta) { m.Name = "" },
		"another ring": func(m *Meta) { m.Ring++ },
		"other keys":   func(m *Meta) { m.Keys++ },
		"protocol":     func(m *Meta) { m.Protocol++ },
		"too long":     func(m *Meta) { m.Peer = string(make([]byte, maxMeta)) },
	} {
		m := memberNamed(g, "a")
		change(&m)
		if err := g.Update(m); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if m := memberNamed(g, "a"); m.Name != "a" || m.Ring != 0xabc {
		t.Errorf("a refused update left %+v", m)
	}
}

// A name that comes back on another address, while its last life still counts as alive, is a member
// at once, under its new boot number.
func TestNameComesBackOnAnotherAddress(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Timing.Probe = time.Hour }) // none is found dead
	nodes[1].Shutdown()
	c := configOf("b", nodes[0].Addr())
	c.Meta.Boot = 2
	back := start(t, c)
	for _, g := range []*Gossip{nodes[0], nodes[2]} {
		for memberNamed(g, "b").Gossip != back.Addr() {
			if memberNamed(g, "b").Name == "" {
				t.Fatal("the name is no member between its lives")
			}
			select {
			case <-g.Changes():
			case <-time.After(patience):
				t.Fatal("the new life is not known")
			}
		}
		if m := memberNamed(g, "b"); m.Boot != 2 || names(g) != "a b c" {
			t.Errorf("members are %q, b is %+v", names(g), m)
		}
	}
}

// A deployment replaces all nodes one by one, each under its name, on another address. In the end all
// know the new lives and nobody else.
func TestRollingRestartOnOtherAddresses(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, nil)
	for i := range nodes {
		m := memberNamed(nodes[i], string(rune('a'+i)))
		m.Draining = true
		if err := nodes[i].Update(m); err != nil {
			t.Fatal(err)
		}
		next := nodes[(i+1)%3]
		eventually(t, "it is known to drain", func() bool { return memberNamed(next, m.Name).Draining })
		nodes[i].Leave(t.Context())
		nodes[i].Shutdown()
		c := configOf(m.Name, next.Addr())
		c.Meta.Boot = next.Highest(m.Name) + 1
		nodes[i] = start(t, c)
		eventually(t, "the new life has joined", nodes[i].Joined)
	}
	for _, g := range nodes {
		eventually(t, "all know the new lives", func() bool {
			for i, other := range nodes {
				m := memberNamed(g, string(rune('a'+i)))
				if m.Gossip != other.Addr() || m.Boot != 2 || m.Draining {
					return false
				}
			}
			return names(g) == "a b c"
		})
	}
}

// A node learns of the boot numbers of lives that ended long before it started.
func TestHighestBootOfTheDead(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 2, func(i int, c *Config) { c.Meta.Boot = uint64(10 + i) })
	nodes[1].Leave(t.Context())
	nodes[1].Shutdown()
	eventually(t, "b is gone", func() bool { return names(nodes[0]) == "a" })
	late := start(t, configOf("c", nodes[0].Addr()))
	eventually(t, "c has joined", late.Joined)
	eventually(t, "c knows b's boot number", func() bool { return late.Highest("b") == 11 })
	if late.Highest("nobody") != 0 {
		t.Error("a name never heard has a boot number")
	}
}

// A signal is there after a change, even if nobody read the ones before.
func TestChangesNeverBlock(t *testing.T) {
	t.Parallel()
	g := start(t, configOf("a"))
	for boot := range uint64(4) {
		c := configOf("b", g.Addr())
		c.Meta.Boot = boot
		other := start(t, c)
		eventually(t, "b is a member", func() bool { return memberNamed(g, "b").Gossip == other.Addr() })
		other.Leave(t.Context())
		other.Shutdown()
		eventually(t, "b is none", func() bool { return names(g) == "a" })
	}
	select {
	case <-g.Changes():
	case <-time.After(patience):
		t.Fatal("no signal after many changes")
	}
}

func TestStoppingInAnyOrder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, order := range [][]string{
		{"shutdown", "leave", "shutdown", "leave"},
		{"leave", "leave", "shutdown", "shutdown"},
		{"leave", "shutdown", "leave", "update"},
		{"shutdown", "update", "members"},
	} {
		nodes := startAll(t, 2, nil)
		g := nodes[1]
		for _, step := range order {
			switch step {
			case "leave":
				g.Leave(ctx)
			case "shutdown":
				if err := g.Shutdown(); err != nil {
					t.Errorf("%v: %v", order, err)
				}
			case "update":
				if err := g.Update(Meta{Name: "b"}); !errors.Is(err, ErrStopped) {
					t.Errorf("%v: update: %v", order, err)
				}
			case "members":
				g.Members()
			}
		}
	}
	nodes := startAll(t, 2, nil)
	done := make(chan struct{})
	for range 4 {
		go func() { nodes[0].Leave(ctx); done <- struct{}{} }()
		go func() { nodes[0].Shutdown(); done <- struct{}{} }()
	}
	for range 8 {
		<-done
	}
}

// An event that never came is made up for by comparing with the whole list.
func TestReconcileMakesUpForLostEvents(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 2, nil)
	r := nodes[0].roster
	r.mu.Lock()
	for _, l := range r.lives {
		if l.meta.Name == "b" {
			l.alive = false
			r.lives["ghost"] = &life{meta: Meta{Name: "ghost"}, alive: true}
		}
	}
	r.mu.Unlock()
	eventually(t, "the list is right again", func() bool { return names(nodes[0]) == "a b" })
	if !slices.Equal(nodes[0].Members(), nodes[1].Members()) {
		t.Error("two nodes have two lists")
	}
}
