package kube

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/overten/sluice/bench/internal/sandbox"
)

// The test's own program stands in for sluice: it is ready at once, and ends when it is told to,
// if its name lets it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

func serve(args []string) {
	flag := func(name string) string { return args[slices.Index(args, name)+1] }
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	lis, err := net.Listen("tcp", flag("--admin"))
	if err != nil {
		os.Exit(1)
	}
	go http.Serve(lis, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exit" {
			os.Exit(3)
		}
	}))
	for range told {
		if os.Getenv("DEAF") == "" {
			return
		}
	}
}

// story is what a cluster has said.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// of returns what was said, in order, of lines with one of these.
func (s *story) of(words ...string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, line)
			}
		}
	}
	return out
}

func newCluster(t *testing.T, grace time.Duration) (*Cluster, *story) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := new(story)
	c, err := New(Config{
		Network: new(sandbox.Loopback), Binaries: map[string]string{"a": self, "b": self}, Dir: t.TempDir(),
		Grace: grace, Probe: 20 * time.Millisecond, Say: s.say,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

func rest(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Rest(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPodsComeAndGo(t *testing.T) {
	c, s := newCluster(t, 10*time.Second)
	c.Apply(func(set *Set) { *set = Set{Replicas: 3, Revision: "a"} })
	rest(t, c)
	first := c.Status()
	if known := c.known(); len(known) != 3 || !known[0].Serving {
		t.Errorf("Services know %v", known)
	}
	if conn, err := c.Dial(t.Context(), ""); err == nil {
		t.Errorf("connected to %v, where nobody listens", conn.RemoteAddr())
	}
	c.Apply(func(set *Set) { set.Revision = "b" })
	rest(t, c)
	for i, p := range c.Status() {
		if p.Revision != "b" || p.Address == first[i].Address || !p.Runs {
			t.Errorf("after the update: %+v", p)
		}
	}
	if got, want := strings.Join(s.of("SIGTERM"), ", "), "SIGTERM to sluice-2, SIGTERM to sluice-1, SIGTERM to sluice-0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	second := c.Status()
	c.Evict(1)
	rest(t, c)
	if p := c.Status()[1]; p.Address == second[1].Address || p.Revision != "b" {
		t.Errorf("after the eviction: %+v", p)
	}
	if err := c.Lose(2); err != nil {
		t.Fatal(err)
	}
	if m := c.Members(); len(m) != 2 || c.Status()[2].Ready {
		t.Errorf("a pod is lost, members are %v", m)
	}
	c.Apply(func(set *Set) { set.Replicas = 2 })
	rest(t, c)
	if all := c.Status(); len(all) != 2 {
		t.Errorf("at two replicas: %v", all)
	}
}

func TestADeafPodIsKilled(t *testing.T) {
	t.Setenv("DEAF", "1")
	c, s := newCluster(t, 100*time.Millisecond)
	c.Apply(func(set *Set) { *set = Set{Replicas: 1, Revision: "a"} })
	rest(t, c)
	c.Apply(func(set *Set) { set.Replicas = 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Rest(ctx); err == nil || !strings.Contains(err.Error(), "sluice-0, told to end: signal: killed") {
		t.Errorf("%v", err)
	}
	if got := s.of("SIGKILL"); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestAPodThatEndsIsNoticed(t *testing.T) {
	c, _ := newCluster(t, 10*time.Second)
	c.Apply(func(set *Set) { *set = Set{Replicas: 1, Revision: "a"} })
	rest(t, c)
	_, _ = http.Get("http://" + net.JoinHostPort(c.Status()[0].Address.String(), adminPort) + "/exit")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Await(ctx, "it ends", func() bool { return false }); err == nil || !strings.Contains(err.Error(), "sluice-0 ended by itself: exit status 3") {
		t.Errorf("%v", err)
	}
}
