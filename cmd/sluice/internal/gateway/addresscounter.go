package gateway

import (
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter"
)

// An addressCounter limits addresses when the node cannot: its policy lacks their
// tier, or requires every key to be listed. It is as exact, but knows only what
// passes this one gateway.
type addressCounter struct {
	tier   *limiter.Tier
	table  *limiter.Table
	hasher limiter.Hasher
	origin time.Time // of the table's clock
}

const (
	countedPartitions = 16
	countedAddresses  = 100_000 // at a time: some megabytes; more pass uncounted
	sweptPerCheck     = 4       // so idle addresses go faster than new ones come
)

func newAddressCounter(tier *limiter.Tier) (*addressCounter, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	secrets, err := limiter.NewSecrets(secret)
	if err != nil {
		return nil, err
	}
	table, err := limiter.NewTable(limiter.Config{
		Partitions: countedPartitions, MaxKeys: countedAddresses, WhenFull: limiter.Open,
	})
	if err != nil {
		return nil, err
	}
	return &addressCounter{tier, table, limiter.NewHasher(secrets, countedPartitions), time.Now()}, nil
}

// check counts one request for key.
func (c *addressCounter) check(key string, now time.Time) client.Decision {
	at := limiter.Instant(now.Sub(c.origin))
	c.table.Sweep(at, sweptPerCheck)
	d := c.table.Check(c.hasher.Key(key), c.tier, 1, at)
	return client.Decision{
		Allowed: d.Allowed, Limit: d.Limit, Remaining: d.Remaining,
		Reset: d.Reset, RetryAfter: d.RetryAfter,
		Reason: client.Reason(d.Reason), Exactness: client.Exactness(d.Exactness),
	}
}

// An occasional says when to repeat a warning that would fill the log.
type occasional struct{ last atomic.Int64 } // Unix nanoseconds

const everyMinute = int64(time.Minute)

// due reports whether a minute has passed since it last did.
func (o *occasional) due(now time.Time) bool {
	last, t := o.last.Load(), now.UnixNano()
	return t-last >= everyMinute && o.last.CompareAndSwap(last, t)
}
