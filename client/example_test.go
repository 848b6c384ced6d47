package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
)

// dial stands for client.New("127.0.0.1:7070"): it connects to a limiter in
// memory, which allows 10 units and 2 runs.
func dial() (c *client.Client, stop func()) {
	limiter, end := fakelimiter.Serve()
	c, err := client.New(fakelimiter.Target, client.WithTimeout(5*time.Second),
		client.WithDialOptions(limiter.DialOption()))
	if err != nil {
		log.Fatal(err)
	}
	return c, func() { c.Close(); end() }
}

func ExampleClient_Check() {
	c, stop := dial()
	defer stop()

	ctx := client.WithRequestID(context.Background(), "req-42")
	for _, cost := range []uint32{4, 4, 4} {
		d, err := c.Check(ctx, client.CheckRequest{Key: "org_17", Tier: "free", Cost: client.Cost(cost)})
		switch {
		case errors.Is(err, client.ErrUndecided):
			fmt.Println("the limiter is out of reach")
		case err != nil:
			fmt.Println("the call is wrong:", err)
		case !d.Allowed:
			fmt.Println("denied:", d.Reason, "for", d.RetryAfter)
		default:
			fmt.Println("allowed:", d.Remaining, "of", d.Limit, "remain")
		}
	}
	// Output:
	// allowed: 6 of 10 remain
	// allowed: 2 of 10 remain
	// denied: rate_limited for 42.5s
}

func ExampleClient_Acquire() {
	c, stop := dial()
	defer stop()

	ctx := context.Background()
	g, err := c.Acquire(ctx, client.AcquireRequest{
		Key: "org_17", Tier: "free", RunID: "run_1", RequestCost: client.Cost(1),
	})
	if err != nil {
		log.Fatal(err)
	}
	if !g.Granted {
		fmt.Println("denied:", g.Reason)
		return
	}
	defer g.Lease.Release(ctx) // also if ctx is canceled meanwhile

	// The run's work. It should stop if g.Lease.Lost() is closed.
	fmt.Println(g.InUse, "of", g.Limit, "runs")
	// Output:
	// 1 of 2 runs
}

func ExampleClient_Attach() {
	gateway, stop := dial()
	defer stop()
	ctx := context.Background()
	g, err := gateway.Acquire(ctx, client.AcquireRequest{Key: "org_17", RunID: "run_1"})
	if err != nil {
		log.Fatal(err)
	}
	id := g.Lease.ID() // sent to the worker along with the task
	if err := g.Lease.Detach(ctx); err != nil {
		log.Fatal(err)
	}

	worker := gateway // in life, another process with a client of its own
	lease := worker.Attach(id, client.DefaultTTL)
	fmt.Println("released:", lease.Release(ctx) == nil)
	// Output:
	// released: true
}
