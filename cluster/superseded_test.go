package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// begin starts a node that joins others.
func begin(t *testing.T, name string, log *logged, join ...string) *Node {
	t.Helper()
	origin := time.Now()
	n, err := Start(Config{
		Name: name, Partitions: 31, Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", Join: join, Secrets: 1, MaxKeys: 1000,
		Rules: Rules{Policy: "p", Tier: func(string) *limiter.Tier { return nil }, Horizon: time.Minute, LargestLimit: 100},
		Clock: func() limiter.Instant { return limiter.Instant(1000 * time.Hour).Add(time.Since(origin)) },
		Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.AwaitSettled(ctx); err != nil {
		t.Fatalf("%s is not settled: %v", name, err)
	}
	return n
}

// Of two nodes of one name the younger counts, and the older is told to end, once: it would be
// refused by all others for good. It once filled the log instead, and kept the processors busy.
func TestTheYoungerOfANameSupersedes(t *testing.T) {
	var log logged
	older := begin(t, "s", &log)
	other := begin(t, "o", new(logged), older.GossipAddr())
	younger := begin(t, "s", new(logged), other.GossipAddr())
	select {
	case <-older.Superseded():
	case <-time.After(10 * time.Second):
		t.Fatal("the older was not told")
	}
	if left := older.Drain(t.Context()); left == 0 {
		t.Error("who is superseded has nobody to hand over to")
	}
	select {
	case <-younger.Superseded():
		t.Error("the younger was told to end")
	case <-other.Superseded():
		t.Error("another was told to end")
	case <-time.After(time.Second):
	}
	if n := log.count("names must be unique"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	if n := log.count("\n"); n > 30 {
		t.Errorf("%d lines were logged", n)
	}
}
