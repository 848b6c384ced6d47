package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A circle is how a gateway without a client of ours reaches a cluster: it has one
// connection for each of the addresses that it was given, and asks the next when one does
// not decide. It knows nothing of partitions and holders.
type circle struct {
	addresses []string
	conns     []*grpc.ClientConn
}

// tryMost is how long such a gateway waits for one node.
const tryMost = 500 * time.Millisecond

// roundPause is how long it waits when all nodes have said that they cannot decide.
const roundPause = 10 * time.Millisecond

func dial(addresses []string) (*circle, error) {
	c := &circle{addresses: addresses}
	for _, a := range addresses {
		conn, err := grpc.NewClient("passthrough:///"+a, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *circle) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// ask does what is to be done with one node after the other, from the first on, until one
// has decided or ctx ends. Each has tryMost.
func (c *circle) ask(ctx context.Context, first int, do func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error) error {
	for i := 0; ; i++ {
		at := (first + i) % len(c.conns)
		try, cancel := context.WithTimeout(ctx, tryMost)
		err := do(try, c.addresses[at], sluicev1.NewRateLimiterServiceClient(c.conns[at]))
		cancel()
		if err == nil || !undecided(err) || ctx.Err() != nil || outOfTime(ctx, try, err) {
			return err
		}
		if i%len(c.conns) == len(c.conns)-1 {
			if wait(ctx, roundPause) != nil {
				return err
			}
		}
	}
}

// outOfTime reports whether a try had all the time that was left, and took it: the node's clock
// may say so a moment before ours.
func outOfTime(ctx, try context.Context, err error) bool {
	all, bounded := ctx.Deadline()
	its, _ := try.Deadline()
	return bounded && !its.Before(all) && status.Code(err) == codes.DeadlineExceeded
}

// undecided reports whether another node may do better.
func undecided(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.DeadlineExceeded
}

// wait waits so long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// told is what a decision, or the lack of one, comes to.
func told(d *sluicev1.Decision) (_ audit.Outcome, degraded bool) {
	switch {
	case d == nil:
		return audit.Failed, false
	case d.GetAllowed():
		return audit.Allowed, d.GetExactness() == sluicev1.Exactness_EXACTNESS_DEGRADED
	default:
		return audit.Denied, d.GetExactness() == sluicev1.Exactness_EXACTNESS_DEGRADED
	}
}
