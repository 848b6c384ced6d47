package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/client"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Gateway asks for one unit of a key, by its number, and logs what it tried and was told.
type Gateway interface {
	Check(ctx context.Context, key int)
	Close() error
}

// A Desk is what all gateways of one cluster share.
type Desk struct {
	Keys *Keys
	Log  *audit.Log
}

// CloseAll closes all gateways of all groups.
func CloseAll(groups [][]Gateway) error {
	var errs []error
	for _, group := range groups {
		for _, g := range group {
			errs = append(errs, g.Close())
		}
	}
	return errors.Join(errs...)
}

// Aware is a gateway with the Go client, which knows where keys are decided.
type Aware struct {
	*Desk
	*client.Client
	group int
}

// OpenAware opens such a gateway, whose calls are logged as those of a group, with a deadline.
// The target is as client.New takes it.
func (d *Desk) OpenAware(target string, group int, deadline time.Duration) (*Aware, error) {
	t := &tap{Desk: d}
	c, err := client.New(target, client.WithTimeout(deadline),
		client.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		client.WithDialOptions(grpc.WithChainStreamInterceptor(t.stream), grpc.WithChainUnaryInterceptor(t.unary)))
	if err != nil {
		return nil, err
	}
	return &Aware{Desk: d, Client: c, group: group}, nil
}

// Check asks for one unit of a key.
func (g *Aware) Check(ctx context.Context, key int) {
	began := g.Log.Now()
	d, err := g.Client.Check(ctx, client.CheckRequest{Key: g.Keys.Names[key]})
	c := audit.Call{Key: key, Group: g.group, Units: 1, Began: began, Ended: g.Log.Now(), Cached: d.Cached, Err: err}
	switch {
	case err != nil:
		c.Outcome = audit.Failed
	case d.Allowed:
		c.Outcome = audit.Allowed
	default:
		c.Outcome = audit.Denied
	}
	g.Log.Call(c)
}

// Plain is a gateway as it would be in another language: with what gRPC has, and tries.
type Plain struct {
	*Desk
	*Circle
	group    int
	deadline time.Duration
	turn     atomic.Uint32
}

// OpenPlain makes such a gateway of a circle, which it closes in the end.
func (d *Desk) OpenPlain(c *Circle, group int, deadline time.Duration) *Plain {
	return &Plain{Desk: d, Circle: c, group: group, deadline: deadline}
}

// Check asks for one unit of a key.
func (g *Plain) Check(ctx context.Context, key int) {
	ctx, cancel := context.WithTimeout(ctx, g.deadline)
	defer cancel()
	c := audit.Call{Key: key, Group: g.group, Units: 1, Began: g.Log.Now()}
	c.Err = g.Ask(ctx, int(g.turn.Add(1)), func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error {
		try := g.Log.Send(key, address, 1)
		resp, err := node.Check(ctx, &sluicev1.CheckRequest{Key: g.Keys.Names[key]})
		if err != nil && (ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded) { // whichever side's clock was first
			c.Outcome = audit.Failed // without an answer
			return err
		}
		var degraded bool
		c.Outcome, degraded = told(resp.GetDecision())
		g.Log.Answer(try, c.Outcome, degraded)
		return err
	})
	c.Ended = g.Log.Now()
	g.Log.Call(c)
}
