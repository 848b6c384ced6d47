package limiter

import (
	"fmt"
	"testing"
	"time"
)

// Memory grows with the keys, and what idle keys had is given back, to be used again.
func TestMemoryFollowsTheKeys(t *testing.T) {
	table, tier := newUsed(t)
	if taken, used := table.Memory(); taken != 0 || used != 0 {
		t.Errorf("empty: %d bytes taken, %d used", taken, used)
	}
	const keys = 20_000
	now := Instant(time.Hour)
	for i := range keys {
		table.Check(usedKey(i), tier, 1, now)
	}
	taken, used := table.Memory()
	if used < keys*64 || taken < used || taken > 2*used+4<<20 {
		t.Errorf("%d keys: %d bytes taken, %d used", keys, taken, used)
	}
	for range keys { // far more often than it takes
		if table.Sweep(now.Add(2*time.Minute), keys); table.Keys() == 0 {
			break
		}
	}
	if after, left := table.Memory(); after != taken || left != 0 {
		t.Errorf("after the sweep: %d bytes taken, %d used; want %d and none", after, left, taken)
	}
}

// Leases are counted that are live, swept or not.
func TestCountLeases(t *testing.T) {
	table, tier := newUsed(t)
	now := Instant(time.Hour)
	k := usedKey(1)
	for i, ttl := range []time.Duration{time.Second, time.Minute, time.Minute} {
		a := Acquisition{Key: k, Tier: tier, Run: RunHashOf(1, uint64(i)), RunID: fmt.Sprint(i), TTL: ttl, Nonce: uint64(i)}
		if g, err := table.Acquire(&a, now); err != nil || !g.Granted {
			t.Fatal(g, err)
		}
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {time.Second, 2}, {time.Minute, 0}} {
		if n := table.CountLeases(k.Partition, now.Add(tt.after)); n != tt.want {
			t.Errorf("after %v: %d leases, want %d", tt.after, n, tt.want)
		}
	}
}

func newUsed(t *testing.T) (*Table, *Tier) {
	t.Helper()
	table, err := NewTable(Config{Partitions: 7, MaxKeys: 100_000, LargestLimit: 10})
	if err != nil {
		t.Fatal(err)
	}
	tier, err := NewTier(TierSpec{Name: "used", Windows: []Window{{Limit: 10, Per: time.Minute}}, Concurrent: 5})
	if err != nil {
		t.Fatal(err)
	}
	return table, tier
}

func usedKey(i int) Key {
	return Key{Partition: PartitionID(i % 7), ID: IdentityOf(uint64(i)*0x9e3779b97f4a7c15, uint64(i)*0xbf58476d1ce4e5b9)}
}
