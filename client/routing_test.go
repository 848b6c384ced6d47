package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// clusterBubble runs a test of a cluster in memory, in a synctest bubble, with a
// client that has learned the topology.
func clusterBubble(t *testing.T, nodes int, f func(*testing.T, *fakelimiter.Cluster, *client.Client), opts ...client.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cluster := fakelimiter.StartClusterInMemory(t, nodes)
		c := clusterClient(t, cluster.Target(), append(opts, client.WithDialOptions(cluster.DialOption()))...)
		pass(time.Second)
		f(t, cluster, c)
	})
}

func clusterClient(t testing.TB, target string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(target, append([]client.Option{client.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustCheck(t *testing.T, c *client.Client, key string) {
	t.Helper()
	if d, err := c.Check(t.Context(), client.CheckRequest{Key: key}); err != nil || !d.Allowed || !d.Decided() {
		t.Fatalf("Check(%q) = %+v, %v", key, d, err)
	}
}

// The checks for one of several nodes share one stream, so that more of them share a message; those
// for a node that is alone share two, so that two of its cores can decide.
func TestStreamsOfANode(t *testing.T) {
	for nodes, want := range map[int]int32{1: 2, 3: 3} {
		var streams atomic.Int32
		clusterBubble(t, nodes, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
			cluster.Before("CheckStream", func(context.Context, proto.Message) error {
				streams.Add(1)
				return nil
			})
			for i := range 30 {
				mustCheck(t, c, fmt.Sprint("key-", i))
			}
		})
		if got := streams.Load(); got != want {
			t.Errorf("%d streams to %d nodes, want %d", got, nodes, want)
		}
	}
}

func TestCallsGoToTheHolder(t *testing.T) {
	clusterBubble(t, 3, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		var checks []client.CheckRequest
		for i := range 60 {
			key := fmt.Sprint("key-", i)
			checks = append(checks, client.CheckRequest{Key: key})
			mustCheck(t, c, key)
			if _, err := c.Check(client.WithRequestID(t.Context(), "r"), client.CheckRequest{Key: key}); err != nil {
				t.Fatal(err)
			}
			acquire(t, c, client.AcquireRequest{Key: key, RunID: key})
		}
		for _, call := range cluster.Calls("Check") {
			if want := cluster.Partition(call.Request.(*sluicev1.CheckRequest).GetKey()) % 3; call.Node != want || call.Stream == (call.RequestID != "") {
				t.Errorf("%v, by stream %v, came to node %d, want %d", call.Request, call.Stream, call.Node, want)
			}
		}
		for _, call := range cluster.Calls("Acquire") {
			if want := cluster.Partition(call.Request.(*sluicev1.AcquireRequest).GetKey()) % 3; call.Node != want {
				t.Errorf("%v came to node %d, want %d", call.Request, call.Node, want)
			}
		}

		results, err := c.CheckBatch(t.Context(), checks)
		if err != nil || len(results) != len(checks) {
			t.Fatalf("%d results, %v", len(results), err)
		}
		if got := fmt.Sprint(cluster.Asked("CheckBatch")); got != "[1 1 1]" {
			t.Errorf("a batch became calls %s, want one for each node", got)
		}
		for _, call := range cluster.Calls("CheckBatch") {
			for _, check := range call.Request.(*sluicev1.CheckBatchRequest).GetChecks() {
				if want := cluster.Partition(check.GetKey()) % 3; call.Node != want {
					t.Errorf("%v came to node %d, want %d", check, call.Node, want)
				}
			}
		}

		pass(12 * time.Second)
		if got := fmt.Sprint(cluster.Asked("Renew")); got != "[1 1 1]" {
			t.Errorf("60 leases were renewed by calls %s, want one for each node", got)
		}
		if err := c.ReleaseAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, call := range cluster.Calls("Release") {
			run := call.Request.(*sluicev1.ReleaseRequest).GetLeaseId()[len("lease-"):]
			if want := cluster.Partition(run) % 3; call.Node != want {
				t.Errorf("the release of %s came to node %d, want %d", run, call.Node, want)
			}
		}
	})
}

// Results stand where their checks stand, whichever node they come from.
func TestBatchIsGatheredInOrder(t *testing.T) {
	clusterBubble(t, 3, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		cluster.Units = 1000
		var checks []client.CheckRequest
		for i := range 100 {
			check := client.CheckRequest{Key: fmt.Sprint("key-", i)}
			switch i % 10 {
			case 3:
				check.Cost = client.Cost(2000) // denied
			case 7:
				check.Key = "" // wrong
			}
			checks = append(checks, check)
		}
		results, err := c.CheckBatch(t.Context(), checks)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			switch i % 10 {
			case 3:
				if r.Err != nil || r.Decision.Reason != client.CostExceedsLimit {
					t.Errorf("%d: %+v, want a denial", i, r)
				}
			case 7:
				if r.Err == nil {
					t.Errorf("%d: %+v, want an error", i, r)
				}
			default:
				if r.Err != nil || !r.Decision.Allowed {
					t.Errorf("%d: %+v, want it allowed", i, r)
				}
			}
		}
	})
}

func TestTopologyMovesAKey(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		key := cluster.Key(0)
		mustCheck(t, c, key)
		cluster.Move(key, 1)
		synctest.Wait()
		mustCheck(t, c, key)
		if got := fmt.Sprint(cluster.Asked("Check")); got != "[1 1]" {
			t.Errorf("the nodes were asked %s, want [1 1]", got)
		}
		// Where the holder is not known, any node will do.
		cluster.Tell(func(told *sluicev1.WatchResponse) { clear(told.Holders) })
		synctest.Wait()
		for range 50 {
			mustCheck(t, c, key)
		}
		if got := cluster.Asked("Check"); got[0] < 5 || got[1] < 5 {
			t.Errorf("without a holder the nodes were asked %v, want both now and then", got)
		}
	})
}

func TestDrainingNodeIsSpared(t *testing.T) {
	clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
		key := cluster.Key(0)
		cluster.Drain(0)
		synctest.Wait()
		for range 20 {
			mustCheck(t, c, key)
		}
		if got := fmt.Sprint(cluster.Asked("Check")); got != "[0 20]" {
			t.Errorf("the nodes were asked %s, the first drains", got)
		}
		// If all drain, they answer still.
		cluster.Drain(1)
		synctest.Wait()
		mustCheck(t, c, key)
	})
}

// A node that joins is learned of from any other.
func TestNodesThatTheTargetLacksAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := fakelimiter.StartClusterInMemory(t, 3)
		c := clusterClient(t, cluster.Target(1), client.WithDialOptions(cluster.DialOption()))
		pass(time.Second)
		for place := range 3 {
			mustCheck(t, c, cluster.Key(place))
		}
		if got := fmt.Sprint(cluster.Asked("Check")); got != "[1 1 1]" {
			t.Errorf("the nodes were asked %s", got)
		}
		// And is forgotten when it leaves.
		cluster.Tell(func(told *sluicev1.WatchResponse) {
			told.Nodes = told.Nodes[:2]
			for p, place := range told.Holders {
				if place == 3 {
					told.Holders[p] = 1
				}
			}
		})
		pass(10 * time.Second)
		mustCheck(t, c, cluster.Key(2))
		if got := fmt.Sprint(cluster.Asked("Check")); got != "[2 1 1]" {
			t.Errorf("the nodes were asked %s, the last has left", got)
		}
	})
}

// Nodes may advertise addresses that only they can reach.
func TestUnreachableMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := fakelimiter.StartClusterInMemory(t, 2)
		cluster.Tell(func(told *sluicev1.WatchResponse) {
			told.Nodes[0].Address, told.Nodes[1].Address = "10.9.9.1:1", "10.9.9.2:1"
		})
		c := clusterClient(t, cluster.Target(0), client.WithDialOptions(cluster.DialOption()))
		pass(time.Second)
		start := time.Now()
		for range 10 {
			mustCheck(t, c, cluster.Key(1))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the target's address took %v to be asked instead", took)
		}
	})
}

// What cannot be understood changes nothing.
func TestTopologyNotUnderstood(t *testing.T) {
	for name, damage := range map[string]func(*sluicev1.WatchResponse){
		"no nodes":        func(told *sluicev1.WatchResponse) { told.Nodes = nil },
		"no address":      func(told *sluicev1.WatchResponse) { told.Nodes[1].Address = "" },
		"no such holder":  func(told *sluicev1.WatchResponse) { told.Holders[3] = 3 },
		"far holder":      func(told *sluicev1.WatchResponse) { told.Holders[3] = 1<<32 - 1 },
		"no routing key":  func(told *sluicev1.WatchResponse) { told.RoutingKey = nil },
		"bad routing key": func(told *sluicev1.WatchResponse) { told.RoutingKey = make([]byte, 17) },
	} {
		t.Run(name, func(t *testing.T) {
			clusterBubble(t, 2, func(t *testing.T, cluster *fakelimiter.Cluster, c *client.Client) {
				cluster.Tell(damage)
				pass(5 * time.Second)
				mustCheck(t, c, cluster.Key(0))
				mustCheck(t, c, cluster.Key(1))
				if got := fmt.Sprint(cluster.Asked("Check")); got != "[1 1]" {
					t.Errorf("the nodes were asked %s", got)
				}
			})
		})
	}
}

func TestTargetsAreValidated(t *testing.T) {
	for _, target := range []string{"", "127.0.0.1:1,", "127.0.0.1:1,%zz://x"} {
		if c, err := client.New(target); err == nil {
			c.Close()
			t.Errorf("target %q was accepted", target)
		}
	}
}
