package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// load asks from several goroutines until stop is called, which returns how many
// calls were made and the longest of them. No call may fail.
func load(t *testing.T, c *client.Client) (made func() int64, stop func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	var (
		calls, longest atomic.Int64
		all            sync.WaitGroup
	)
	for g := range 8 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				asked := context.Background()
				if i%8 == 0 {
					asked = client.WithRequestID(asked, "load")
				}
				start := time.Now()
				d, err := c.Check(asked, client.CheckRequest{Key: fmt.Sprint("key-", g, "-", i%50)})
				if err != nil || !d.Allowed || !d.Decided() {
					t.Errorf("a call failed after %v: %+v, %v", time.Since(start), d, err)
					return
				}
				calls.Add(1)
				if took := int64(time.Since(start)); took > longest.Load() {
					longest.Store(took)
				}
			}
		})
	}
	return calls.Load, func() time.Duration { cancel(); all.Wait(); return time.Duration(longest.Load()) }
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// Over real connections and under load, a node drains and leaves, is killed, or
// hangs: no call fails, and the node that is left is asked.
func TestNoCallFailsWhenANodeGoes(t *testing.T) {
	for name, goes := range map[string]func(*testing.T, *fakelimiter.Cluster){
		"drains and leaves": func(t *testing.T, cluster *fakelimiter.Cluster) {
			cluster.Drain(0)
			cluster.Nodes[0].Leave()
		},
		"leaves unannounced": func(t *testing.T, cluster *fakelimiter.Cluster) { cluster.Nodes[0].Leave() },
		"is killed":          func(t *testing.T, cluster *fakelimiter.Cluster) { cluster.Nodes[0].Stop() },
		"hangs":              func(t *testing.T, cluster *fakelimiter.Cluster) { cluster.Nodes[0].Hang() },
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakelimiter.StartCluster(t, 2)
			cluster.Units = 1_000_000_000
			c := clusterClient(t, cluster.Target(), client.WithTimeout(5*time.Second))
			made, stop := load(t, c)
			eventually(t, "both nodes are asked", func() bool {
				asked := cluster.Asked("Check")
				return asked[0] > 100 && asked[1] > 100
			})
			goes(t, cluster)
			before := made()
			eventually(t, "calls go on", func() bool { return made() > before+2000 })
			longest := stop()
			used, calls := int64(cluster.Used()), made()
			t.Logf("%d calls, %d units counted, longest %v", calls, used, longest)
			if used < calls {
				t.Errorf("%d calls were allowed, %d counted", calls, used)
			}
			// Only what was on its way to the node may have been counted twice.
			if used > calls+100 {
				t.Errorf("%d calls were counted as %d", calls, used)
			}
		})
	}
}

// The target names a node that is gone, and one that is there.
func TestDeadAddressIsPassedOver(t *testing.T) {
	cluster := fakelimiter.StartCluster(t, 3)
	cluster.Nodes[0].Stop()
	cluster.Tell(func(told *sluicev1.WatchResponse) {
		for p := range told.Holders {
			told.Holders[p] = 2
		}
	})
	c := clusterClient(t, cluster.Target(0, 1), client.WithTimeout(5*time.Second))
	for range 20 {
		mustCheck(t, c, "k")
	}
}

// Over real connections, with the deadline of a gateway.
func TestHangingNodeOverLoopback(t *testing.T) {
	cluster := fakelimiter.StartCluster(t, 2)
	c := clusterClient(t, cluster.Target())
	key := cluster.Key(0)
	eventually(t, "the key goes to its holder", func() bool {
		before := cluster.Asked("Check")[0]
		_, err := c.Check(t.Context(), client.CheckRequest{Key: key})
		return err == nil && cluster.Asked("Check")[0] > before
	})
	cluster.Nodes[0].Hang()
	answered := 0
	for range 100 {
		if d, err := c.Check(t.Context(), client.CheckRequest{Key: key}); err == nil && d.Decided() {
			answered++
		}
	}
	if answered < 90 { // all, on a machine that has nothing else to do
		t.Errorf("%d of 100 checks were answered", answered)
	}
}
