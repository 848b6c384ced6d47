package ask

import (
	"context"
	"errors"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/overten/sluice/client"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Client asks by Sluice's Go client: one key by Check, several by CheckBatch.
type Client struct {
	client *client.Client
	tier   string
	cost   *uint32
	batch  []client.CheckRequest
}

// NewClient returns an asker with a client that others may use as well.
func NewClient(c *client.Client, tier string, cost uint32) *Client {
	out := &Client{client: c, tier: tier}
	if cost != 1 {
		out.cost = &cost
	}
	return out
}

// Ask makes one call of the client.
func (c *Client) Ask(ctx context.Context, keys []string) (denied int, err error) {
	if len(keys) > 1 {
		return c.askTogether(ctx, keys)
	}
	d, err := c.client.Check(ctx, client.CheckRequest{Key: keys[0], Tier: c.tier, Cost: c.cost})
	if err == nil && !d.Allowed {
		denied = 1
	}
	return denied, err
}

func (c *Client) askTogether(ctx context.Context, keys []string) (denied int, err error) {
	c.batch = c.batch[:0]
	for _, key := range keys {
		c.batch = append(c.batch, client.CheckRequest{Key: key, Tier: c.tier, Cost: c.cost})
	}
	all, err := c.client.CheckBatch(ctx, c.batch)
	for _, r := range all {
		err = errors.Join(err, r.Err)
		if !r.Decision.Allowed {
			denied++
		}
	}
	return denied, err
}

// A RedisRate asks by go-redis' redis_rate, which runs a script in Redis for each key. Several keys
// are one pipeline.
type RedisRate struct{ limiter *redis_rate.Limiter }

// NewRedisRate returns an asker with a client of Redis that others may use as well.
func NewRedisRate(c *redis.Client) *RedisRate { return &RedisRate{redis_rate.NewLimiter(c)} }

// Ask runs the script for each key.
func (r *RedisRate) Ask(ctx context.Context, keys []string) (denied int, err error) {
	for _, key := range keys {
		res, err := r.limiter.Allow(ctx, key, redis_rate.PerMinute(Limit))
		if err != nil {
			return denied, err
		}
		if res.Allowed == 0 {
			denied++
		}
	}
	return denied, nil
}

// Leases takes, renews and releases a lease of each key: three calls, counted as one decision.
type Leases struct {
	rpc sluicev1.RateLimiterServiceClient
	run func() string
}

// NewLeases returns an asker over conn; run makes a run id that nobody else has.
func NewLeases(conn *grpc.ClientConn, run func() string) *Leases {
	return &Leases{sluicev1.NewRateLimiterServiceClient(conn), run}
}

// Ask has a run of each key, one after the other.
func (l *Leases) Ask(ctx context.Context, keys []string) (denied int, err error) {
	for _, key := range keys {
		granted, err := l.rpc.Acquire(ctx, &sluicev1.AcquireRequest{Key: key, Tier: Tier, RunId: l.run(), TtlMs: 30_000})
		if err != nil {
			return denied, err
		}
		if !granted.GetGranted() {
			denied++
			continue
		}
		id := granted.GetLeaseId()
		renewed, err := l.rpc.Renew(ctx, &sluicev1.RenewRequest{Leases: []*sluicev1.LeaseRenewal{{LeaseId: id, TtlMs: 30_000}}})
		if err == nil && renewed.GetResults()[0].GetError() != nil {
			err = errors.New("a lease was not renewed: " + renewed.GetResults()[0].GetError().GetMessage())
		}
		if err != nil {
			return denied, err
		}
		if _, err := l.rpc.Release(ctx, &sluicev1.ReleaseRequest{LeaseId: id}); err != nil {
			return denied, err
		}
	}
	return denied, nil
}
