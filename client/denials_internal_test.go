package client

import (
	"testing"
	"time"
)

// What a shadow tier tells of a key without room, heard in a turn, denies nobody; the last unit of
// a tier that denies does.
func TestAShadowsAnswerIsNoDenial(t *testing.T) {
	for what, test := range map[string]struct {
		reset  time.Duration
		denies bool
	}{
		"a shadow": {0, false},
		"no room":  {time.Minute, true},
	} {
		d, r, now := newDenials(), &CheckRequest{Key: "k"}, time.Now()
		d.note(r, &Decision{Reason: RateLimited, RetryAfter: time.Millisecond, Reset: time.Millisecond, Exactness: Exact}, now, now)
		asked := now.Add(2 * time.Millisecond)
		turn := d.find(r, asked)
		if turn == nil {
			t.Fatalf("%s: the denial is not remembered", what)
		}
		d.end(turn, &Decision{Allowed: true, Limit: 10, Reset: test.reset, Exactness: Exact}, asked, asked)
		if _, denied := d.repeat(r, asked); denied != test.denies {
			t.Errorf("%s: denied %v, want %v", what, denied, test.denies)
		}
	}
}
