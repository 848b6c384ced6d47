package gateway

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

// A Circle is how a gateway without a client of ours reaches a cluster: it has one
// connection for each of the addresses that it was given, and asks the next when one does
// not decide. It knows nothing of partitions and holders.
type Circle struct {
	addresses []string
	Conns     []*grpc.ClientConn
}

// TryMost is how long such a gateway waits for one node.
const TryMost = 500 * time.Millisecond

// roundPause is how long it waits when all nodes have said that they cannot decide.
const roundPause = 10 * time.Millisecond

// Dial makes a circle of addresses. It does not wait for connections.
func Dial(addresses []string, opts ...grpc.DialOption) (*Circle, error) {
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}, opts...)
	c := &Circle{addresses: addresses}
	for _, a := range addresses {
		conn, err := grpc.NewClient("passthrough:///"+a, opts...)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Conns = append(c.Conns, conn)
	}
	return c, nil
}

// Close closes the connections.
func (c *Circle) Close() error {
	var errs []error
	for _, conn := range c.Conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Ask does what is to be done with one node after the other, from the first on, until one
// has decided or ctx ends. Each has TryMost.
func (c *Circle) Ask(ctx context.Context, first int, do func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error) error {
	for i := 0; ; i++ {
		at := (first + i) % len(c.Conns)
		try, cancel := context.WithTimeout(ctx, TryMost)
		err := do(try, c.addresses[at], sluicev1.NewRateLimiterServiceClient(c.Conns[at]))
		cancel()
		if err == nil || !Undecided(err) || ctx.Err() != nil || outOfTime(ctx, try, err) {
			return err
		}
		if i%len(c.Conns) == len(c.Conns)-1 {
			if Wait(ctx, roundPause) != nil {
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

// Undecided reports whether another node may do better.
func Undecided(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.DeadlineExceeded
}

// Wait waits so long, or until ctx ends.
func Wait(ctx context.Context, d time.Duration) error {
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
