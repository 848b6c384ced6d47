package client

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// An Acquire whose answer never came may have taken a slot. To find out, the
// client asks again for the same run, which returns the same lease, and
// releases it. It stops when the slot must have expired by itself.
const (
	settleTry   = time.Second            // one call
	settlePause = 100 * time.Millisecond // before the first try; doubled up to
	settleRest  = 2 * time.Second
	settleTTL   = time.Second // asked for, in case the slot was not taken: the API's least

	// maxDoubts bounds what is settled at a time. A slot beyond comes free when
	// its lease expires.
	maxDoubts = 1000
)

// A runName is what tells runs apart.
type runName struct{ key, runID string }

// runs lets one call at a time speak for a run: else settling an old call could
// release the lease that a new one was granted.
type runs struct {
	mu     sync.Mutex // guards what follows
	active map[runName]*run
	doubts int // calls being settled
}

type run struct {
	users int           // turns that have not ended; guarded by runs.mu
	busy  chan struct{} // capacity 1; full while a turn speaks for the run
	calls int           // turns so far; guarded by busy being full
}

// A turn is one Acquire's right to speak for its run.
type turn struct {
	runs *runs
	name runName
	run  *run
	call int
}

// enter waits until no other call speaks for the run, as long as a call may take.
func (r *runs) enter(ctx context.Context, timeout time.Duration, name runName) (*turn, *Error) {
	r.mu.Lock()
	if r.active == nil {
		r.active = map[runName]*run{}
	}
	one := r.active[name]
	if one == nil {
		one = &run{busy: make(chan struct{}, 1)}
		r.active[name] = one
	}
	one.users++
	r.mu.Unlock()

	t := &turn{runs: r, name: name, run: one}
	select {
	case one.busy <- struct{}{}:
	default:
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		select {
		case one.busy <- struct{}{}:
		case <-ctx.Done():
			t.end()
			return nil, &Error{
				Code: contract.ServiceUnavailable, GRPC: codes.DeadlineExceeded, cause: ctx.Err(),
				Message: "another call for this run is under way", RequestID: RequestID(ctx),
			}
		}
	}
	one.calls++
	t.call = one.calls
	return t, nil
}

// leave ends a turn that speaks for the run.
func (t *turn) leave() {
	t.pause()
	t.end()
}

// pause lets others speak for the run.
func (t *turn) pause() { <-t.run.busy }

// resume speaks for the run again, unless a newer call has spoken, or speaks now.
func (t *turn) resume() bool {
	select {
	case t.run.busy <- struct{}{}:
	default:
		return false
	}
	if t.run.calls != t.call {
		t.pause()
		return false
	}
	return true
}

// end ends a turn that does not speak for the run.
func (t *turn) end() {
	t.runs.mu.Lock()
	defer t.runs.mu.Unlock()
	t.run.users--
	if t.run.users == 0 {
		delete(t.runs.active, t.name)
	}
}

// doubt counts a call to be settled, and returns false if there are too many.
func (r *runs) doubt() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doubts == maxDoubts {
		return false
	}
	r.doubts++
	return true
}

func (r *runs) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubts--
}

// settle frees, in the background, the slot that req may have taken. It ends
// the turn.
func (c *Client) settle(ctx context.Context, t *turn, req *sluicev1.AcquireRequest) {
	t.pause()
	if !c.runs.doubt() {
		t.end()
		return
	}
	ctx = context.WithoutCancel(ctx)
	ok := c.spawn(func() {
		defer c.runs.settled()
		defer t.end()
		ctx, cancel := context.WithTimeout(ctx, millis(req.GetTtlMs()))
		defer cancel()
		defer context.AfterFunc(c.background, cancel)()
		for pause := settlePause; sleep(ctx, pause); pause = min(2*pause, settleRest) {
			if !t.resume() {
				return
			}
			free := c.free(ctx, req)
			t.pause()
			if free {
				return
			}
		}
	})
	if !ok {
		c.runs.settled()
		t.end()
	}
}

// free reports whether the run of req is known to have no slot that this client
// does not hold, having released it if need be.
func (c *Client) free(ctx context.Context, req *sluicev1.AcquireRequest) bool {
	r := route{partition: c.topology.Load().partition(req.GetKey()), timeout: settleTry}
	res, e := invoke(ctx, c, r, sluicev1.RateLimiterServiceClient.Acquire, &sluicev1.AcquireRequest{
		Key: req.GetKey(), Tier: req.GetTier(), RunId: req.GetRunId(), TaskId: req.GetTaskId(),
		TtlMs: uint32(settleTTL.Milliseconds()),
	})
	if e != nil {
		return !undecided(e.GRPC)
	}
	id := res.GetLeaseId()
	if !res.GetGranted() || c.renewals.holds(id) {
		return true
	}
	_, e = invoke(ctx, c, r, sluicev1.RateLimiterServiceClient.Release, &sluicev1.ReleaseRequest{LeaseId: id})
	return e == nil || !undecided(e.GRPC)
}
