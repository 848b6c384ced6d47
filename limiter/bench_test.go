package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var benchSecrets, _ = NewSecrets([]byte("a secret for benchmarks"))

// keyMaker writes the API key of a number, without allocating.
type keyMaker struct{ buf []byte }

func newKeyMaker() *keyMaker { return &keyMaker{[]byte("sk_live_0123456789abcdef")} }

func (m *keyMaker) key(n uint64) []byte {
	const digits = "0123456789abcdef"
	for i := len(m.buf) - 1; i >= 8; i-- {
		m.buf[i] = digits[n&15]
		n >>= 4
	}
	return m.buf
}

func benchTier(b *testing.B, windows ...Window) *Tier {
	tier, err := NewTier(TierSpec{Name: "bench", Windows: windows, Concurrent: 10})
	if err != nil {
		b.Fatal(err)
	}
	return tier
}

func benchTable(b *testing.B, keys int) (*Table, Hasher) {
	table, err := NewTable(Config{Partitions: 1021, MaxKeys: keys + 1})
	if err != nil {
		b.Fatal(err)
	}
	return table, NewHasher(benchSecrets, 1021)
}

// recordAll begins the recording of all partitions, or ends it.
func recordAll(table *Table, on bool) {
	for p := range PartitionID(1021) {
		table.Record(p, on)
	}
}

// BenchmarkCheck measures a decision, hashing included, of random keys among so many,
// each of which has had four hits: one by one, and 64 at a time, as batches are decided.
func BenchmarkCheck(b *testing.B) {
	for _, keys := range []int{10_000, 100_000, 1_000_000, 5_000_000, 10_000_000} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("keys=%d/batch=%d", keys, batch), func(b *testing.B) { benchmarkCheck(b, keys, batch) })
		}
	}
}

func benchmarkCheck(b *testing.B, keys, batch int) {
	table, hasher := benchTable(b, keys)
	tier := benchTier(b, Window{600, time.Minute})
	m := newKeyMaker()
	now := Instant(0)
	gap := Instant(time.Minute) / Instant(4*keys) // four hits a key in each minute
	for range 4 {
		for k := range keys {
			now += gap
			table.Check(hasher.Key(string(m.key(uint64(k)))), tier, 1, now)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	asked := make([]Key, batch)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N / batch {
		for i := range asked {
			asked[i] = hasher.Key(bytesAsString(m.key(r.Uint64N(uint64(keys)))))
			if batch > 1 {
				table.Expect(asked[i])
			}
		}
		for _, k := range asked {
			now += gap
			table.Check(k, tier, 1, now)
		}
	}
}

// BenchmarkSliding measures a decision, 64 at a time, of random keys among 100,000 whose windows
// are as full as they get: about as many hits expire as come.
func BenchmarkSliding(b *testing.B) {
	const keys, batch = 100_000, 64
	for _, hits := range []int{10, 40, 200} {
		b.Run(fmt.Sprintf("hits=%d", hits), func(b *testing.B) {
			table, hasher := benchTable(b, keys)
			tier := benchTier(b, Window{1000, time.Minute})
			m := newKeyMaker()
			r := rand.New(rand.NewPCG(1, 2))
			now, gap := Instant(0), Instant(time.Minute)/Instant(hits*keys)
			var asked [batch]Key
			check := func(times int) {
				for range times / batch {
					for i := range asked {
						asked[i] = hasher.Key(bytesAsString(m.key(r.Uint64N(keys))))
						table.Expect(asked[i])
					}
					for _, k := range asked {
						now += gap
						table.Check(k, tier, 1, now)
					}
				}
			}
			check(hits * keys * 3 / 2)
			b.ReportAllocs()
			b.ResetTimer()
			check(b.N)
		})
	}
}

// BenchmarkApply measures a hit that a copy counts again: of 100,000 keys of so many hits a minute each,
// five at a time of each partition, with the memory for the next sixteen partitions on its way.
func BenchmarkApply(b *testing.B) {
	const keys, share, group = 100_000, 5, 16
	for _, hits := range []int{10, 200} {
		b.Run(fmt.Sprintf("hits=%d", hits), func(b *testing.B) {
			table, hasher := benchTable(b, keys)
			copied, _ := benchTable(b, keys)
			recordAll(table, true)
			tier := benchTier(b, Window{1000, time.Minute})
			m := newKeyMaker()
			r := rand.New(rand.NewPCG(1, 2))
			now, gap := Instant(0), Instant(time.Minute)/Instant(hits*keys)
			var buf []byte
			taken := func() (all []Changes) {
				for range share * 1021 {
					now += gap
					table.Check(hasher.Key(bytesAsString(m.key(r.Uint64N(keys)))), tier, 1, now)
				}
				for p := range PartitionID(1021) {
					var c Changes
					c, buf = table.TakeInto(buf, p)
					all = append(all, c)
				}
				return all
			}
			apply := func(all []Changes) {
				for p := range all[:group] {
					copied.ExpectChanges(PartitionID(p), all[p].Bytes)
				}
				for p := range all {
					if next := p + group; next < len(all) {
						copied.ExpectChanges(PartitionID(next), all[next].Bytes)
					}
					if len(all[p].Bytes) == 0 {
						continue
					}
					if err := copied.Apply(PartitionID(p), all[p].Bytes, 0, now); err != nil {
						b.Fatal(err)
					}
				}
			}
			for range hits * keys * 3 / 2 / (share * 1021) {
				apply(taken())
				buf = buf[:0]
			}
			buf = nil
			var rounds [][]Changes
			for range b.N / (share * 1021) {
				rounds = append(rounds, taken())
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, all := range rounds {
				apply(all)
			}
		})
	}
}

// BenchmarkRecorded measures a decision of one of 100,000 keys whose partitions are recorded
// and taken from every 10 ms, at 100,000 decisions a second; and the same without.
func BenchmarkRecorded(b *testing.B) {
	const keys = 100_000
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("recorded=%v", on), func(b *testing.B) {
			table, hasher := benchTable(b, keys)
			recordAll(table, on)
			tier := benchTier(b, Window{600, time.Second})
			m := newKeyMaker()
			r := rand.New(rand.NewPCG(1, 2))
			now := Instant(0)
			dirty := make([]PartitionID, 0, 1021)
			taken := 0
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				now += Instant(10 * time.Microsecond)
				table.Check(hasher.Key(bytesAsString(m.key(r.Uint64N(keys)))), tier, 1, now)
				if i%1000 == 999 {
					for _, p := range table.Dirty(dirty) {
						taken += len(table.Take(p).Bytes)
					}
				}
			}
			b.ReportMetric(float64(taken)/float64(b.N), "B-taken/op")
		})
	}
}

// BenchmarkLargeLimit measures decisions of one key with N = 100,000 and a full window:
// each hit waits for one to expire, or is denied; and with a cost of 10,000.
func BenchmarkLargeLimit(b *testing.B) {
	for _, cost := range []Cost{1, 10_000} {
		b.Run(fmt.Sprintf("full/cost=%d", cost), func(b *testing.B) {
			table, hasher := benchTable(b, 1)
			tier := benchTier(b, Window{100_000, time.Minute})
			key := hasher.Key("sk_live_0123456789abcdef")
			now := Instant(0)
			for range 100_000 {
				now += Instant(600 * time.Microsecond)
				table.Check(key, tier, 1, now)
			}
			b.ReportAllocs()
			b.ResetTimer()
			allowed := 0
			for range b.N {
				now += Instant(300 * time.Microsecond)
				if table.Check(key, tier, cost, now).Allowed {
					allowed++
				}
			}
			b.ReportMetric(float64(allowed)/float64(b.N), "allowed/op")
		})
	}
}

// BenchmarkFourWindows measures a tier of four windows, each with its own history length.
func BenchmarkFourWindows(b *testing.B) {
	table, hasher := benchTable(b, 1)
	tier := benchTier(b, Window{20, time.Second}, Window{600, time.Minute}, Window{9_000, time.Hour}, Window{90_000, 24 * time.Hour})
	key := hasher.Key("sk_live_0123456789abcdef")
	now := Instant(0)
	b.ReportAllocs()
	for range b.N {
		now += Instant(80 * time.Millisecond)
		table.Check(key, tier, 1, now)
	}
}

// BenchmarkLease measures a run from Acquire to Release, sealing included.
func BenchmarkLease(b *testing.B) {
	table, hasher := benchTable(b, 100_000)
	sealer := NewSealer(benchSecrets, 1021)
	tier := benchTier(b, Window{600, time.Minute})
	m := newKeyMaker()
	now := Instant(0)
	b.ReportAllocs()
	for i := range b.N {
		now += 1000
		a := Acquisition{
			Key: hasher.Key(bytesAsString(m.key(uint64(i % 100_000)))), Tier: tier,
			Run: hasher.Run("run_0123456789"), RunID: "run_0123456789", TTL: 30 * time.Second, Nonce: uint64(i),
		}
		g, err := table.Acquire(&a, now)
		if err != nil || !g.Granted {
			b.Fatal(g, err)
		}
		id := sealer.Seal(LeaseRef{Key: a.Key, Tier: sealer.Tier(tier.Name()), Run: a.Run, Nonce: g.Nonce})
		ref, ok := sealer.Open(id)
		if !ok || !released(table, ref, now) {
			b.Fatal("not released")
		}
	}
}
