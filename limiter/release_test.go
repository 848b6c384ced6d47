package limiter

import (
	"errors"
	"testing"
	"time"
)

// A lease that was lost with its holder stays released, once that was said: a renewal that
// was under way does not take it up again.
func TestReleaseOfALostLeaseSticks(t *testing.T) {
	tier, err := NewTier(TierSpec{Name: "t", Windows: []Window{{Limit: 10, Per: time.Minute}}, Concurrent: 2})
	if err != nil {
		t.Fatal(err)
	}
	ref := LeaseRef{Key: Key{ID: Identity{1, 2}}, Run: RunHash{3, 4}, Nonce: 5}
	now := Instant(MaxPer)
	for _, c := range []struct {
		name    string
		doubt   bool
		release bool
		taken   bool
	}{
		{"in doubt a renewal takes a lease up", true, false, true},
		{"not after its release", true, true, false},
		{"nor where nothing can be lost", false, false, false},
	} {
		table := sharedTable(t, Config{})
		table.Permit(0, forEver)
		if c.doubt {
			table.Doubt(0, Recovering, now, false)
		}
		if c.release {
			if released, err := table.Release(ref, now); released || err != nil {
				t.Errorf("%s: %v %v", c.name, released, err)
			}
		}
		_, err := table.Renew(ref, time.Minute, tier, now.Add(time.Second))
		if taken := err == nil; taken != c.taken || !taken && !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
