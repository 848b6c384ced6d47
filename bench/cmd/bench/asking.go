package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/bench/internal/ask"
	"github.com/overten/sluice/bench/internal/load"
	"github.com/overten/sluice/bench/internal/scenario"
	"github.com/overten/sluice/bench/internal/target"
	"github.com/overten/sluice/client"
)

// asking is the load of one contender: its connections, and the keys that it asks for.
type asking struct {
	of      scenario.Contender
	keys    keys
	abusive keys
	conns   []*grpc.ClientConn
	client  *client.Client
	redis   *redis.Client

	denials []counter // of each worker, in this turn
	runs    atomic.Int64
}

// counter is a worker's own, in a cache line of its own.
type counter struct {
	n int
	_ [56]byte
}

// newAsking connects to a target.
func newAsking(c scenario.Contender, t *target.Target) (_ *asking, err error) {
	a := &asking{of: c, keys: makeKeys("sk_live_", c.Load.Keys), abusive: makeKeys("sk_evil_", c.Load.Abusive.Keys)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	switch {
	case c.Target == "redis":
		a.redis = redis.NewClient(&redis.Options{Addr: t.Addrs[0], PoolSize: c.Load.Workers, Protocol: 2})
		return a, nil
	case c.Load.Via == scenario.ByClient:
		target := "passthrough:///" + t.Addrs[0]
		if len(t.Addrs) > 1 {
			target = t.Addrs[0]
		}
		a.client, err = client.New(target, client.WithTimeout(max(c.Load.Deadline, time.Second)), client.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())))
		return a, err
	}
	for i := range c.Load.Conns {
		conn, err := grpc.NewClient(t.Addrs[i%len(t.Addrs)], grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			return a, err
		}
		a.conns = append(a.conns, conn)
	}
	return a, nil
}

func (a *asking) close() error {
	var errs []error
	for _, conn := range a.conns {
		errs = append(errs, conn.Close())
	}
	if a.client != nil {
		errs = append(errs, a.client.Close())
	}
	if a.redis != nil {
		errs = append(errs, a.redis.Close())
	}
	return errors.Join(errs...)
}

// asker returns an asker of worker i, for keys of a tier.
func (a *asking) asker(i int, batch bool, tier string) ask.Asker {
	l := a.of.Load
	switch {
	case a.redis != nil:
		return ask.NewRedisRate(a.redis)
	case a.client != nil:
		return ask.NewClient(a.client, tier, *l.Cost)
	case l.Via == scenario.ByLease:
		return ask.NewLeases(a.conns[i%len(a.conns)], func() string { return strconv.FormatInt(a.runs.Add(1), 10) })
	}
	return ask.NewCaller(a.conns[i%len(a.conns)], a.protocol(batch, tier))
}

func (a *asking) protocol(batch bool, tier string) ask.Protocol {
	switch {
	case a.of.Target == "gubernator":
		return ask.Gubernator()
	case a.of.Target == "ratelimit":
		return ask.Envoy()
	case batch:
		return ask.CheckBatch(tier, *a.of.Load.Cost)
	}
	return ask.Check(tier, *a.of.Load.Cost)
}

// begin begins a turn.
func (a *asking) begin() { a.denials = make([]counter, max(512, a.of.Load.Workers)) }

// denied returns how many were denied in this turn.
func (a *asking) denied() (n int) {
	for _, c := range a.denials {
		n += c.n
	}
	return n
}

// worker returns what worker i does: it asks for keys at random.
func (a *asking) worker(i int) load.Call {
	l := a.of.Load
	usual := a.asker(i, l.Batch > 1, l.Tier)
	abusive := a.asker(i, false, l.Abusive.Tier)
	random := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
	batch := make([]string, l.Batch)
	return func(ctx context.Context) error {
		by, from := usual, a.keys
		for k := range batch {
			switch p := random.Float64(); {
			case p < l.Hot:
				batch[k] = a.keys.at(0)
				continue
			case p < l.Hot+l.Abusive.Share:
				by, from = abusive, a.abusive
			}
			batch[k] = from.at(random.IntN(from.n))
		}
		denied, err := by.Ask(ctx, batch)
		a.denials[i].n += denied
		return err
	}
}

// fill asks for each key once, so that a target holds them all before it is measured.
func (a *asking) fill(ctx context.Context) error {
	if a.of.Target == "redis" || strings.HasPrefix(a.of.Target, "echo") || a.of.Load.Via == scenario.ByLease {
		return nil
	}
	most, workers := 1000, 8
	if a.of.Target == "gubernator" && a.of.Nodes > 1 {
		most, workers = 100, 2 // its nodes wait half a second for each other, and then fail the call
	}
	var next atomic.Int64
	errs := make(chan error, workers)
	for i := range workers {
		go func() {
			by := a.asker(i, true, a.of.Load.Tier)
			some := make([]string, 0, most)
			var err error
			for err == nil {
				to := int(next.Add(int64(most)))
				from := to - most
				if from >= a.keys.n {
					break
				}
				some = some[:0]
				for i := from; i < min(to, a.keys.n); i++ {
					some = append(some, a.keys.at(i))
				}
				limited, cancel := context.WithTimeout(ctx, 30*time.Second)
				_, err = by.Ask(limited, some)
				cancel()
			}
			errs <- err
		}()
	}
	var all []error
	for range workers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// keys are the keys that a load asks for, one behind the other in one text: to find one costs
// memory that is slow once and not twice, and is a part of what each call costs.
type keys struct {
	text      string
	n, length int // how many, and how long each is
}

// makeKeys makes so many keys, as long as those that people are given.
func makeKeys(prefix string, n int) keys {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%s%016x%08x", prefix, uint64(i)+1<<60, uint32(i)+1<<28)
	}
	return keys{text: text.String(), n: n, length: len(prefix) + 24}
}

func (k keys) at(i int) string { return k.text[i*k.length:][:k.length] }
