package limiter

import (
	"testing"
	"time"
)

// twoHolders returns two holders of one partition that begin alike, of which the second records.
func twoHolders(t *testing.T, begin func(*Table)) (winner, loser *Table) {
	winner, loser = sharedTable(t, Config{}), sharedTable(t, Config{})
	for _, table := range []*Table{winner, loser} {
		table.Permit(0, forEver)
		begin(table)
	}
	loser.Record(0, true)
	return winner, loser
}

// mergeAll gives the winner all that the loser has changed, in pieces.
func mergeAll(t *testing.T, winner *Table, pieces []Piece, now Instant) {
	t.Helper()
	if err := winner.Merge(0, pieces, 0, now); err != nil {
		t.Fatal(err)
	}
}

func take(table *Table) Piece {
	c := table.Take(0)
	return Piece{Bytes: c.Bytes, From: c.First}
}

// A key is kept for the longest of its tiers, of which a piece need not know: hits of a short one do not
// drop those of the pieces before.
func TestMergeOfPiecesForgetsByTheReceiversTiers(t *testing.T) {
	hourly, small := mustTier(t, Window{5, time.Hour}), mustTier(t, Window{3, time.Minute})
	key, now := Key{0, Identity{1, 1}}, Instant(100*time.Hour)
	winner, loser := twoHolders(t, func(table *Table) { table.Check(key, hourly, 1, now) })
	var pieces []Piece
	for range 4 {
		now = now.Add(61 * time.Second)
		if d := loser.Check(key, small, 1, now); !d.Allowed {
			t.Fatal(d)
		}
		pieces = append(pieces, take(loser))
	}
	mergeAll(t, winner, pieces, now)
	for name, table := range map[string]*Table{"the former holder": loser, "the present one": winner} {
		if d := table.Check(key, hourly, 0, now); d.Remaining != 0 {
			t.Errorf("%s: %d remain of 5 after 5", name, d.Remaining)
		}
	}
}

// A lease that one piece says was released stays so, though the next has another of its run.
func TestMergeOfPiecesRevivesNoLease(t *testing.T) {
	tier, err := NewTier(TierSpec{Name: "t", Windows: []Window{{10, time.Minute}}, Concurrent: 5})
	if err != nil {
		t.Fatal(err)
	}
	key, run, now := Key{0, Identity{1, 1}}, RunHashOf(1, 0), Instant(100*time.Hour)
	acquire := func(table *Table, nonce uint64, ttl time.Duration) {
		if g, err := table.Acquire(&Acquisition{Key: key, Tier: tier, Run: run, TTL: ttl, Nonce: nonce}, now); err != nil || !g.Granted {
			t.Fatal(g, err)
		}
	}
	winner, loser := twoHolders(t, func(table *Table) { acquire(table, 1, MaxTTL) })
	if ok, err := loser.Release(LeaseRef{Key: key, Run: run, Nonce: 1}, now); err != nil || !ok {
		t.Fatal(ok, err)
	}
	pieces := []Piece{take(loser)}
	acquire(loser, 2, 30*time.Second)
	mergeAll(t, winner, append(pieces, take(loser)), now)
	now = now.Add(time.Minute)
	if ks, _ := winner.Inspect(key, now); len(ks.Leases) != 0 {
		t.Errorf("after all was released or has ended %d leases are live: %+v", len(ks.Leases), ks.Leases)
	}
}
