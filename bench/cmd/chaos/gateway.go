package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/client"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A gateway asks for one unit of a key, by its number, and logs what it tried and was told.
type gateway interface {
	check(ctx context.Context, key int)
	Close() error
}

// A desk is what all gateways of one repetition share.
type desk struct {
	keys *keys
	log  *audit.Log
}

// deadlines of the groups' calls, with all their tries.
var deadlines = [groups]time.Duration{patient: 5 * time.Second, impatient: 50 * time.Millisecond}

// openGateways returns two of each group: one with the Go client and one without.
func (d *desk) openGateways(addresses []string) (all [groups][]gateway, err error) {
	for group := range all {
		aware, err := d.openAware(group, addresses)
		if err != nil {
			return all, errors.Join(err, closeGateways(all))
		}
		all[group] = append(all[group], aware)
		circle, err := dial(addresses)
		if err != nil {
			return all, errors.Join(err, closeGateways(all))
		}
		all[group] = append(all[group], &plain{desk: d, circle: circle, group: group})
	}
	return all, nil
}

func closeGateways(all [groups][]gateway) error {
	var errs []error
	for _, group := range all {
		for _, g := range group {
			errs = append(errs, g.Close())
		}
	}
	return errors.Join(errs...)
}

// aware is a gateway with the Go client, which knows where keys are decided.
type aware struct {
	*desk
	*client.Client
	group int
}

func (d *desk) openAware(group int, addresses []string) (*aware, error) {
	t := &tap{desk: d}
	c, err := client.New(strings.Join(addresses, ","), client.WithTimeout(deadlines[group]),
		client.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		client.WithDialOptions(grpc.WithChainStreamInterceptor(t.stream), grpc.WithChainUnaryInterceptor(t.unary)))
	if err != nil {
		return nil, err
	}
	return &aware{desk: d, Client: c, group: group}, nil
}

func (g *aware) check(ctx context.Context, key int) {
	began := g.log.Now()
	d, err := g.Check(ctx, client.CheckRequest{Key: g.keys.names[key]})
	c := audit.Call{Key: key, Group: g.group, Units: 1, Began: began, Ended: g.log.Now(), Cached: d.Cached, Err: err}
	switch {
	case err != nil:
		c.Outcome = audit.Failed
	case d.Allowed:
		c.Outcome = audit.Allowed
	default:
		c.Outcome = audit.Denied
	}
	g.log.Call(c)
}

// plain is a gateway as it would be in another language: with what gRPC has, and tries.
type plain struct {
	*desk
	*circle
	group int
	turn  atomic.Uint32
}

func (g *plain) check(ctx context.Context, key int) {
	ctx, cancel := context.WithTimeout(ctx, deadlines[g.group])
	defer cancel()
	c := audit.Call{Key: key, Group: g.group, Units: 1, Began: g.log.Now()}
	c.Err = g.ask(ctx, int(g.turn.Add(1)), func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error {
		try := g.log.Send(key, address, 1)
		resp, err := node.Check(ctx, &sluicev1.CheckRequest{Key: g.keys.names[key]})
		if err != nil && (ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded) { // whichever side's clock was first
			c.Outcome = audit.Failed // without an answer
			return err
		}
		var degraded bool
		c.Outcome, degraded = told(resp.GetDecision())
		g.log.Answer(try, c.Outcome, degraded)
		return err
	})
	c.Ended = g.log.Now()
	g.log.Call(c)
}
