package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// split starts four nodes that know each other, cuts a and b off from c and d, and waits until each
// side has given the other up, and longer than the dead are talked to.
func split(t *testing.T, change func(*Config)) ([]*Gossip, *switchboard) {
	t.Helper()
	board := newSwitchboard()
	nodes := startAll(t, 4, func(_ int, c *Config) {
		c.Cut = board.cut(c.Meta.Name)
		if change != nil {
			change(c)
		}
	})
	board.know(nodes...)
	board.move(1, "c", "d")
	eventually(t, "each side knows itself only", func() bool {
		return names(nodes[0]) == "a b" && names(nodes[1]) == "a b" && names(nodes[2]) == "c d" && names(nodes[3]) == "c d"
	})
	during(t, quick.Dead+quick.Rejoin, "no side knows the other", func() bool {
		return !strings.ContainsAny(names(nodes[0])+names(nodes[1]), "cd") && !strings.ContainsAny(names(nodes[2])+names(nodes[3]), "ab")
	})
	return nodes, board
}

func healed(t *testing.T, nodes []*Gossip) {
	t.Helper()
	for _, g := range nodes {
		eventually(t, "all know all again", func() bool { return names(g) == "a b c d" })
	}
}

// Two halves that have declared each other dead meet again without any seed: by the addresses at
// which the missing were last.
func TestSplitHealsThroughLastKnownAddresses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	gone := false
	nodes, board := split(t, func(c *Config) {
		if len(c.Seeds) == 0 {
			return
		}
		first := netip.MustParseAddrPort(c.Seeds[0])
		c.Seeds = []string{net.JoinHostPort("seeds.test", portOf(c.Seeds[0]))}
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{first.Addr()}, nil
		}
	})
	mu.Lock()
	gone = true
	mu.Unlock()
	board.move(0, "c", "d")
	healed(t, nodes)
}

// And without any address kept, by the seeds of one side.
func TestSplitHealsThroughSeeds(t *testing.T) {
	t.Parallel()
	nodes, board := split(t, nil)
	for _, g := range nodes {
		g.roster.mu.Lock()
		if len(g.roster.lost) != 2 {
			t.Errorf("%s looks for %d members, should for 2", g.roster.name, len(g.roster.lost))
		}
		clear(g.roster.lost)
		g.roster.mu.Unlock()
	}
	board.move(0, "c", "d")
	healed(t, nodes)
}

// One node that is cut off, and so has lost all others, comes back by itself.
func TestIsolatedNodeComesBack(t *testing.T) {
	t.Parallel()
	board := newSwitchboard()
	nodes := startAll(t, 3, func(_ int, c *Config) { c.Cut = board.cut(c.Meta.Name) })
	board.know(nodes...)
	board.move(1, "a") // the seed of the others, which has no seed itself
	eventually(t, "a is alone", func() bool { return names(nodes[0]) == "a" })
	eventually(t, "the others are without a", func() bool { return names(nodes[1]) == "b c" && names(nodes[2]) == "b c" })
	board.move(0, "a")
	for _, g := range nodes {
		eventually(t, "all know all again", func() bool { return names(g) == "a b c" })
	}
}

// The first node, seed of all others and with no seed of its own, restarts at the same address. It must not
// stay a cluster of one.
func TestSeedThatRestartsIsFoundAgain(t *testing.T) {
	t.Parallel()
	nodes := startAll(t, 3, nil)
	addr := nodes[0].Addr()
	nodes[0].Shutdown()
	c := configOf("a")
	c.Meta.Boot = 2
	c.Bind = addr
	again := start(t, c)
	for _, g := range []*Gossip{again, nodes[1], nodes[2]} {
		eventually(t, "all know the new life", func() bool { return names(g) == "a b c" && memberNamed(g, "a").Boot == 2 })
	}
}

// Nodes that come up before their seed wait for it, in the background.
func TestSeedThatComesLate(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	var log logbook
	c := configOf("b", addr)
	c.Log = log.logger()
	early := start(t, c)
	eventually(t, "it says that it is alone", func() bool { return len(log.lines("WARN", "no member was reached")) > 0 })
	if early.Joined() {
		t.Error("a node that met nobody says that it joined")
	}
	c = configOf("a")
	c.Bind = addr
	late := start(t, c)
	eventually(t, "both know both", func() bool { return names(early) == "a b" && names(late) == "a b" })
}

// A seed's name is asked for anew each time, and all its addresses are tried.
func TestSeedNamesAreResolvedAnew(t *testing.T) {
	t.Parallel()
	first := start(t, configOf("a"))
	c := configOf("b", net.JoinHostPort("seeds.test", portOf(first.Addr())))
	var mu sync.Mutex
	asked := 0
	c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch {
		case host != "seeds.test":
			t.Errorf("asked for %q", host)
		case asked == 1:
			return nil, errors.New("no such host")
		case asked == 2:
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil // nobody listens there
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}
	g := start(t, c)
	eventually(t, "it has joined", g.Joined)
}

// DNS may be slower than a connection may be, and names that it does not answer delay nobody else.
func TestSlowNames(t *testing.T) {
	t.Parallel()
	first := start(t, configOf("a"))
	c := configOf("b", net.JoinHostPort("never.test", "1"), net.JoinHostPort("slow.test", portOf(first.Addr())))
	c.Timing.Connect, c.Timing.Lookup = 100*time.Millisecond, time.Hour
	c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if host == "slow.test" {
			select {
			case <-time.After(3 * c.Timing.Connect):
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			case <-ctx.Done():
			}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	g := start(t, c)
	eventually(t, "it has joined", g.Joined)
}

// A seed that takes connections and says nothing delays neither the others nor a shutdown.
func TestSilentSeedHoldsUpNothing(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	first := start(t, configOf("a"))
	c := configOf("b", silent.Addr().String(), first.Addr())
	c.Timing.Connect = time.Hour
	g := start(t, c)
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "it has joined by the other seed", g.Joined)
	done := make(chan error)
	go func() { done <- g.Shutdown() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the shutdown waits for the silent seed")
	}
}

// Members that left on purpose are not looked for; those that are back no more.
func TestWhoIsLookedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRoster("a")
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port) }
	missing := func() string {
		_, list := r.addresses()
		var text []string
		for _, a := range list {
			text = append(text, a.String())
		}
		return strings.Join(text, " ")
	}
	r.present("a-1", Meta{Name: "a"}, at(1))
	r.present("b-1", Meta{Name: "b", Boot: 1}, at(2))
	r.present("c-1", Meta{Name: "c", Draining: true}, at(3))
	r.gone("c-1", now)
	if got := missing(); got != "" {
		t.Errorf("c drained and left, looked for: %s", got)
	}
	r.gone("b-1", now)
	if got := missing(); got != "10.0.0.1:2" {
		t.Errorf("b is missing, looked for: %q", got)
	}
	r.present("b-2", Meta{Name: "b", Boot: 2}, at(4))
	if got := missing(); got != "" {
		t.Errorf("b is back, looked for: %s", got)
	}
	for port := range uint16(2 * maxLost) {
		id := "x" + string(rune('a'+port))
		r.present(id, Meta{Name: id}, at(port))
		r.gone(id, now.Add(time.Duration(port)))
	}
	_, list := r.addresses()
	if len(list) != maxLost {
		t.Errorf("%d addresses are kept, at most %d should be", len(list), maxLost)
	}
	for _, a := range list {
		if a.Port() < maxLost {
			t.Errorf("%s was given up before ones that are gone longer", a)
		}
	}
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
