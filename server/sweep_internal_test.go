package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
)

// Idle keys are forgotten some seconds after their last window, however few they are; and of a
// table that is nearly full as fast as may be.
func TestIdleKeysAreForgottenSoon(t *testing.T) {
	secrets, err := limiter.NewSecrets([]byte("the secret of these tests"))
	if err != nil {
		t.Fatal(err)
	}
	hasher := limiter.NewHasher(secrets, Partitions)
	tier, err := limiter.NewTier(limiter.TierSpec{Name: "pro", Concurrent: 1, Windows: []limiter.Window{{Limit: 10, Per: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []int{1, 100, 3000, 50_000} {
		const most = 1_000_000
		table, err := limiter.NewTable(limiter.Config{Partitions: Partitions, MaxKeys: most, LargestLimit: 10})
		if err != nil {
			t.Fatal(err)
		}
		now := limiter.Instant(time.Hour)
		for i := range keys {
			table.Check(hasher.Key(fmt.Sprint(i)), tier, 1, now)
		}
		now = now.Add(time.Minute)
		for range sweepSteps {
			table.Sweep(now, sweepStep(table.Keys(), most))
		}
		// As keys go, steps become shorter; a second pass takes what the first has left.
		for range sweepSteps {
			table.Sweep(now, sweepStep(table.Keys(), most))
		}
		if left := table.Keys(); left > keys/20 {
			t.Errorf("of %d keys that are idle %d are left after ten seconds", keys, left)
		}
	}
	if got := sweepStep(950, 1000); got != sweepKeys {
		t.Errorf("in a table that is nearly full a sweep looks at %d places, want %d", got, sweepKeys)
	}
}
