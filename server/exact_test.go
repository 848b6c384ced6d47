package server_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
)

// quickly has windows that a test can wait for.
const quickly = `
tiers:
  quick: {windows: [{limit: 20, per: 1s}, {limit: 30, per: 2s}], concurrent: 1}
default_tier: quick
`

var quickWindows = []struct {
	limit int
	per   time.Duration
}{{20, time.Second}, {30, 2 * time.Second}}

func startInProcess(t *testing.T, file string) *server.Node {
	t.Helper()
	p, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", Policy: p, MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return n
}

func dial(t *testing.T, addr string) sluicev1.RateLimiterServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return sluicev1.NewRateLimiterServiceClient(conn)
}

// admission is a call that was allowed: it was decided at some time between the two.
type admission struct{ sent, received time.Time }

// timed decides one request of cost 1 and measures when.
func timed(t *testing.T, c sluicev1.RateLimiterServiceClient, key string) (*sluicev1.Decision, admission) {
	sent := time.Now()
	resp, err := c.Check(t.Context(), &sluicev1.CheckRequest{Key: key})
	if err != nil {
		t.Errorf("Check: %v", err)
	}
	return resp.GetDecision(), admission{sent, time.Now()}
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test ended while it waited")
	}
}

// TestExact lets many clients hammer one key of a real server for a while. By their own
// clock, no window ever held more than its limit; and in the end no unit was lost.
func TestExact(t *testing.T) {
	n := startInProcess(t, quickly)
	var mu sync.Mutex
	var admitted []admission
	var wg sync.WaitGroup
	start := time.Now()
	const lasting = 2500 * time.Millisecond
	for range 2 {
		c := dial(t, n.Addr())
		for range 4 {
			wg.Go(func() {
				for time.Since(start) < lasting && !t.Failed() {
					d, a := timed(t, c, "hammered")
					if d.GetAllowed() {
						mu.Lock()
						admitted = append(admitted, a)
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	if err := overAdmitted(admitted); err != nil {
		t.Error(err)
	}
	// 20 at once, 10 when the first second is over, and 20 after two.
	if len(admitted) < 30 {
		t.Errorf("%d admitted in %v, want at least 30", len(admitted), lasting)
	}

	// Now without other traffic: waiting as told admits.
	c := dial(t, n.Addr())
	for range 2 {
		d, _ := timed(t, c, "hammered")
		for d.GetAllowed() {
			d, _ = timed(t, c, "hammered")
		}
		wait(t, time.Duration(d.GetRetryAfterMs())*time.Millisecond)
		if d, _ := timed(t, c, "hammered"); !d.GetAllowed() {
			t.Errorf("after the wait: %v", d)
		}
	}
}

// overAdmitted tells of a window that held more than its limit for certain: all of the
// calls were sent and answered within it.
func overAdmitted(admitted []admission) error {
	slices.SortFunc(admitted, func(a, b admission) int { return cmp.Compare(a.sent.UnixNano(), b.sent.UnixNano()) })
	for _, w := range quickWindows {
		for i, first := range admitted {
			within := 0
			for _, a := range admitted[i:] {
				if a.received.Sub(first.sent) < w.per {
					within++
				}
			}
			if within > w.limit {
				return fmt.Errorf("%d admitted within %v, want at most %d", within, w.per, w.limit)
			}
		}
	}
	return nil
}

// TestOverAdmittedSees holds that the judge of TestExact would see what it looks for.
func TestOverAdmittedSees(t *testing.T) {
	at := func(n int, every time.Duration) (all []admission) {
		for i := range n {
			sent := time.Unix(0, 0).Add(time.Duration(i) * every)
			all = append(all, admission{sent, sent.Add(time.Millisecond)})
		}
		return all
	}
	for _, test := range []struct {
		admitted []admission
		ok       bool
	}{
		{at(20, 0), true},
		{at(21, 0), false},
		{at(100, time.Second/10), true},
		{at(31, time.Second/16), false},
		{at(30, time.Second/16), true},
	} {
		if err := overAdmitted(test.admitted); (err == nil) != test.ok {
			t.Errorf("%d admitted: %v", len(test.admitted), err)
		}
	}
}

// TestRemaining holds that as many requests pass as were said to remain.
func TestRemaining(t *testing.T) {
	n := startInProcess(t, quickly)
	c := dial(t, n.Addr())
	for key := 0; ; key++ {
		start := time.Now()
		var answers []*sluicev1.Decision
		for range 22 {
			d, _ := timed(t, c, fmt.Sprint(key))
			answers = append(answers, d)
		}
		if time.Since(start) >= time.Second {
			continue // too slow to tell: the first has left the window
		}
		for i, d := range answers {
			if want := uint32(max(0, 19-i)); d.GetAllowed() != (i < 20) || d.GetRemaining() != want || d.GetLimit() != 20 {
				t.Errorf("request %d: %v, want %d remaining", i, d, want)
			}
		}
		break
	}
}

// TestKeysAreForgotten holds that the node forgets idle keys by itself.
func TestKeysAreForgotten(t *testing.T) {
	p, err := policy.Parse([]byte("tiers:\n  brief: {windows: [{limit: 1, per: 10ms}], concurrent: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", Policy: p, MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	c := dial(t, n.Addr())
	timed(t, c, "first")
	for {
		resp, err := c.Check(t.Context(), &sluicev1.CheckRequest{Key: "second", Tier: "brief", Cost: proto.Uint32(1)})
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetDecision().GetAllowed() {
			return
		}
		if r := resp.GetDecision().GetReason(); r != sluicev1.Reason_REASON_TABLE_FULL {
			t.Fatalf("denied for %v", r)
		}
		wait(t, 5*time.Millisecond)
	}
}
