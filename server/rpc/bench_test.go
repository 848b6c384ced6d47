package rpc

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// BenchmarkBatch measures a check of a batch of 1,000 on its whole way through a node but for
// grpc: parsed, decided and answered. So many keys are in the table, each with so many hits in
// its window, as many of which expire as come.
func BenchmarkBatch(b *testing.B) {
	for _, c := range []struct{ keys, hits int }{{10_000, 4}, {10_000, 60}, {100_000, 4}, {100_000, 60}, {1_000_000, 4}} {
		b.Run(fmt.Sprintf("keys=%d/hits=%d", c.keys, c.hits), func(b *testing.B) { benchmarkBatch(b, c.keys, c.hits) })
	}
}

func benchmarkBatch(b *testing.B, keys, hits int) {
	const checks, partitions = 1000, 1021
	table, err := limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: keys, LargestLimit: 600})
	if err != nil {
		b.Fatal(err)
	}
	now := limiter.Instant(time.Hour)
	secrets := testSecrets(b, "the secret of the cluster")
	s := newService(&Config{
		Table: table, Hasher: limiter.NewHasher(secrets, partitions), Sealer: limiter.NewSealer(secrets, partitions),
		Policy: policy.Default(), Clock: func() (limiter.Instant, time.Time) { return now, start.Add(time.Duration(now)) },
		Log: slog.New(slog.DiscardHandler),
	})
	requests := make([][]byte, max(keys/checks, 100))
	for i := range requests {
		for range checks {
			key := fmt.Sprintf("sk_live_%024x", rand.IntN(keys))
			item := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
			item = protowire.AppendString(protowire.AppendTag(item, 2, protowire.BytesType), "enterprise")
			requests[i] = protowire.AppendBytes(protowire.AppendTag(requests[i], 3, protowire.BytesType), item)
		}
	}
	in := new(streamRequest)
	batch := func(i int) {
		now = now.Add(time.Minute / time.Duration(keys*hits/checks))
		*in = streamRequest{}
		in.receive(mem.SliceBuffer(requests[i%len(requests)]))
		if in.err != nil {
			b.Fatal(in.err)
		}
		count := s.begin(metrics.CheckStream, "")
		of, err := s.decideAll(nil, &count, newBatchAnswer(2, nil, len(in.checks), nil), in.checks)
		if err != nil {
			b.Fatal(err)
		}
		of.answer.buffer().Free()
		count.end(nil)
		in.forget() // and not wipe, as the bytes are asked again
	}
	for i := range keys * hits / checks {
		batch(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		batch(i)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/checks, "ns/check")
}

// BenchmarkCheck measures a check on its whole way through a node but for grpc.
func BenchmarkCheck(b *testing.B) {
	check, request := checker(b, &Config{})
	b.ReportAllocs()
	for b.Loop() {
		check(request)
	}
}

// checker returns what decides a CheckRequest as grpc has it done, in a node as c says further.
func checker(t testing.TB, c *Config) (check func(request []byte), request []byte) {
	const partitions = 1021
	var err error
	if c.Table, err = limiter.NewTable(limiter.Config{Partitions: partitions, MaxKeys: 1000, LargestLimit: 600}); err != nil {
		t.Fatal(err)
	}
	secrets := testSecrets(t, "the secret of the cluster")
	now := limiter.Instant(time.Hour)
	c.Hasher, c.Sealer, c.Policy, c.Log = limiter.NewHasher(secrets, partitions), limiter.NewSealer(secrets, partitions), policy.Default(), slog.New(slog.DiscardHandler)
	c.Clock = func() (limiter.Instant, time.Time) {
		now = now.Add(time.Second)
		return now, start.Add(time.Duration(now))
	}
	s := newService(c)
	handle := unary(metrics.Check, (*service).check).Handler
	ctx := t.Context()
	return func(request []byte) {
		answer, err := handle(s, ctx, func(in any) error {
			in.(receiver).receive(mem.SliceBuffer(bytes.Clone(request)))
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.(mem.Buffer).Free()
	}, wire(t, &sluicev1.CheckRequest{Key: "sk_live_000000000000000000000001", Tier: "enterprise"})
}
