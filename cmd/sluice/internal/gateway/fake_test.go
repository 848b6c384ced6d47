package gateway_test

import (
	"context"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
)

// A failingLimiter fails, or panics, when it is told to.
type failingLimiter struct {
	gateway.Limiter
	err  error
	bug  bool
	asks []string // the calls, in order
}

func (f *failingLimiter) Check(ctx context.Context, req client.CheckRequest) (client.Decision, error) {
	f.asks = append(f.asks, "check")
	switch {
	case f.bug:
		panic("a bug with " + req.Key)
	case f.err != nil:
		return client.Decision{}, f.err
	}
	return f.Limiter.Check(ctx, req)
}

func (f *failingLimiter) Acquire(ctx context.Context, req client.AcquireRequest) (client.Grant, error) {
	f.asks = append(f.asks, "acquire")
	if f.err != nil {
		return client.Grant{}, f.err
	}
	return f.Limiter.Acquire(ctx, req)
}

// A halvingLimiter decides as a node does that lost a key's history and is told
// to go on with half the limit.
type halvingLimiter struct{ gateway.Limiter }

func (h halvingLimiter) Check(ctx context.Context, req client.CheckRequest) (client.Decision, error) {
	d, err := h.Limiter.Check(ctx, req)
	d.Limit, d.Remaining, d.Exactness = d.Limit/2, d.Remaining/2, client.Degraded
	return d, err
}
