package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/gossip/gossiptest"
)

func TestMain(m *testing.M) { gossiptest.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is reached only by tests that fail.
const patience = 30 * time.Second

// quick is a clockwork some times faster than the default.
var quick = Timing{
	Probe:        200 * time.Millisecond,
	ProbeTimeout: 100 * time.Millisecond,
	Gossip:       20 * time.Millisecond,
	Sync:         time.Second,
	Reconcile:    100 * time.Millisecond,
	Rejoin:       200 * time.Millisecond,
	Connect:      time.Second,
	Dead:         2 * time.Second,
}

// configOf returns a node of that name on a port of its own.
func configOf(name string, seeds ...string) Config {
	return Config{
		Meta:   Meta{Name: name, Boot: 1, Peer: "127.0.0.1:7071", Protocol: 1, Ring: 0xabc, Keys: 0xdef},
		Bind:   "127.0.0.1:0",
		Seeds:  seeds,
		Timing: quick,
	}
}

// start starts a node that is shut down when the test ends.
func start(t *testing.T, c Config) *Gossip {
	t.Helper()
	g, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// startAll starts nodes a, b, c, … that join by the first, and waits until all know all.
func startAll(t *testing.T, n int, change func(i int, c *Config)) []*Gossip {
	t.Helper()
	var nodes []*Gossip
	for i := range n {
		c := configOf(string(rune('a' + i)))
		if i > 0 {
			c.Seeds = []string{nodes[0].Addr()}
		}
		if change != nil {
			change(i, &c)
		}
		nodes = append(nodes, start(t, c))
	}
	for _, g := range nodes {
		eventually(t, fmt.Sprintf("%s knows all", g.Addr()), func() bool { return len(g.Members()) == n })
	}
	return nodes
}

// eventually waits until ok, looking at each change and now and then besides.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// during checks that something stays true for a while in which what must not happen would.
func during(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := time.After(d); ; {
		if !ok() {
			t.Fatalf("no longer so: %s", what)
		}
		select {
		case <-poll.C:
		case <-end:
			return
		}
	}
}

func names(g *Gossip) string {
	var list []string
	for _, m := range g.Members() {
		list = append(list, m.Name)
	}
	return strings.Join(list, " ")
}

// memberNamed returns what g knows of a member; the zero Meta if it is none.
func memberNamed(g *Gossip, name string) Meta {
	members := g.Members()
	if i := slices.IndexFunc(members, func(m Meta) bool { return m.Name == name }); i >= 0 {
		return members[i]
	}
	return Meta{}
}

// A logbook collects a log.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines returns the lines that have all of these in them.
func (l *logbook) lines(having ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(having, func(s string) bool { return !strings.Contains(line, s) }) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A switchboard puts nodes on sides: those on different ones do not hear each other.
type switchboard struct {
	mu    sync.Mutex
	names map[string]string // by address
	sides map[string]int    // by name; 0 for those that are not named
}

func newSwitchboard() *switchboard {
	return &switchboard{names: make(map[string]string), sides: make(map[string]int)}
}

// cut is Config.Cut for the node of that name.
func (s *switchboard) cut(name string) func(string) bool {
	return func(addr string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		other, known := s.names[addr]
		return known && s.sides[name] != s.sides[other]
	}
}

// know makes known which nodes are where.
func (s *switchboard) know(nodes ...*Gossip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range nodes {
		s.names[g.Addr()] = g.roster.name
	}
}

func (s *switchboard) move(side int, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.sides[name] = side
	}
}
