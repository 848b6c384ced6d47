package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// How the last call for a lease is made. It goes on after Release or Detach has
// returned, but not for long: a failover takes about half a second, and a slot
// that could not be freed comes free when its lease expires.
const (
	finishFor   = 3 * time.Second        // all tries together
	finishTry   = 500 * time.Millisecond // one call at most, at as many nodes as it takes
	finishPause = 50 * time.Millisecond  // after the first try; doubled after each
)

// A Lease is the slot of one run. The client renews it until it is released,
// detached or lost. Its methods may be called from many goroutines; those of a
// nil *Lease, a run without a slot, do nothing.
type Lease struct {
	client *Client
	id     string
	runID  string
	ttl    time.Duration
	lost   chan struct{} // closed when state becomes leaseLost

	partition int // of the run's key, or anywhere

	// The rest is guarded by client.renewals.mu.

	state   leaseState
	expires time.Time // the server keeps the lease at least until then
	due     time.Time // of the next renewal
	tries   int       // renewals that failed since one succeeded
	err     error     // of the last renewal; if lost, why
	ending  *ending   // set once the lease is released or detached
}

type leaseState uint8

const (
	leaseHeld leaseState = iota // and renewed
	leaseReleased
	leaseDetached
	leaseLost
)

// An ending is the last call for a lease under way.
type ending struct {
	done chan struct{} // closed when there is no further try
	err  error         // to be read after done
}

// ID names the lease to a worker, which may Attach it. Whoever knows it can
// release it, so do not show it to the API's clients.
func (l *Lease) ID() string {
	if l == nil {
		return ""
	}
	return l.id
}

// RunID returns the run that the lease was acquired for; empty after Attach.
func (l *Lease) RunID() string {
	if l == nil {
		return ""
	}
	return l.runID
}

// Lost returns a channel that is closed when the slot may belong to another run:
// the limiter says that the lease is over, or it could not be renewed in time,
// or the client was closed. It is not closed by Release or Detach.
func (l *Lease) Lost() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.lost
}

// Err returns nil until the lease is lost, and then why.
func (l *Lease) Err() error {
	if l == nil {
		return nil
	}
	l.client.renewals.mu.Lock()
	defer l.client.renewals.mu.Unlock()
	if l.state != leaseLost {
		return nil
	}
	return l.err
}

// Attach takes over the renewal of a lease that another process acquired and
// detached: a worker knows it by its id. It renews the lease at once, in the
// background, and then keeps it alive with the given ttl (1 s to 10 min; 0:
// DefaultTTL). If there is no such lease, it is lost. A lease that this client
// already holds is returned as it is.
func (c *Client) Attach(leaseID string, ttl time.Duration) *Lease {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	return c.renewals.attach(&Lease{client: c, id: leaseID, ttl: ttl, partition: anywhere})
}

// Release ends the run and frees its slot. It may be called again, after
// Detach or when the lease is lost: it then does nothing more.
//
// It is sent even if ctx was canceled, of which only the request id is used, and
// waits for the answer as long as any call may take. An error that is
// ErrUndecided means that there was no answer: the client then goes on trying
// for a few seconds, and Close waits for it.
func (l *Lease) Release(ctx context.Context) error {
	if l == nil {
		return nil
	}
	end := l.startRelease(ctx)
	if end == nil && errors.Is(l.Err(), ErrClosed) {
		return ErrClosed // the slot is taken until the lease expires
	}
	return l.client.await(end)
}

// startRelease returns the release under way, or nil if there is nothing to wait for.
func (l *Lease) startRelease(ctx context.Context) *ending {
	c := l.client
	return c.renewals.end(l, leaseReleased, func() *ending {
		return c.finish(ctx, func(ctx context.Context, timeout time.Duration) *Error {
			r := route{partition: l.partition, timeout: timeout}
			_, e := invoke(ctx, c, r, sluicev1.RateLimiterServiceClient.Release, &sluicev1.ReleaseRequest{LeaseId: l.id})
			if e != nil && e.GRPC == codes.FailedPrecondition {
				return nil // it was over before
			}
			return e
		})
	})
}

// Detach stops the renewal without freeing the slot, so that a worker to which
// the id was given can take the lease over. A last renewal gives it the full ttl
// to do so. Release then does nothing.
//
// ctx, the wait and ErrUndecided are as with Release. Any other error means that
// the lease is over.
func (l *Lease) Detach(ctx context.Context) error {
	if l == nil {
		return nil
	}
	c := l.client
	end := c.renewals.end(l, leaseDetached, func() *ending {
		return c.finish(ctx, l.renewOnce)
	})
	if end == nil { // released or lost
		if err := l.Err(); err != nil {
			return err
		}
		return &Error{Code: contract.Gone, GRPC: codes.FailedPrecondition, Message: "the lease was released"}
	}
	return c.await(end)
}

// renewOnce renews the lease alone.
func (l *Lease) renewOnce(ctx context.Context, timeout time.Duration) *Error {
	r := route{partition: l.partition, timeout: timeout}
	res, e := invoke(ctx, l.client, r, sluicev1.RateLimiterServiceClient.Renew, renewRequest([]*Lease{l}))
	if e == nil && len(res.GetResults()) != 1 {
		e = errNoAnswer("Renew")
	}
	_, e = readRenewal(res, 0, time.Now(), e)
	return e
}

// finish makes call until it is decided or finishFor is over, in a goroutine of
// the client.
func (c *Client) finish(ctx context.Context, call func(ctx context.Context, timeout time.Duration) *Error) *ending {
	end := &ending{done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	ok := c.spawn(func() {
		defer close(end.done)
		ctx, cancel := context.WithTimeout(ctx, finishFor)
		defer cancel()
		try := min(c.timeout, finishTry) // whoever waits for the first learns of it
		for pause := finishPause; ; pause *= 2 {
			e := call(ctx, try)
			try = min(2*try, finishTry)
			if e == nil {
				end.err = nil
				return
			}
			end.err = e
			if !undecided(e.GRPC) || !sleep(ctx, pause) {
				return
			}
		}
	})
	if !ok {
		end.err = ErrClosed
		close(end.done)
	}
	return end
}

// await waits for end as long as a call may take. end may be nil.
func (c *Client) await(end *ending) error {
	if end == nil {
		return nil
	}
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case <-end.done:
		return end.err
	case <-timer.C:
		return &Error{
			Code: contract.ServiceUnavailable, GRPC: codes.DeadlineExceeded,
			Message: "no answer yet; still trying", cause: context.DeadlineExceeded,
		}
	}
}

// ReleaseAll releases every lease that the client holds, for a holder that is
// about to end with all its runs. It is to each lease what Release is.
func (c *Client) ReleaseAll(ctx context.Context) error {
	var ends []*ending
	for _, l := range c.renewals.all() {
		if end := l.startRelease(ctx); end != nil {
			ends = append(ends, end)
		}
	}
	var failed int
	var last error
	for _, end := range ends {
		if err := c.await(end); err != nil {
			failed, last = failed+1, err
		}
	}
	if last != nil {
		return fmt.Errorf("client: %d of %d leases not released: %w", failed, len(ends), last)
	}
	return nil
}

// sleep waits for d, and returns false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
