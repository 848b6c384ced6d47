package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The timetable of a lease with time to live T, when it has just been renewed:
//
//	T/3      it is due; from T/4 on it goes along with others that are due
//	…        if that fails, again after T/60, and then after pauses that double
//	         up to T/6, each shifted by up to a fifth at random: about seven tries
//	T        it is lost
const (
	dueAfter   = 3  // a lease is due when this part of its life has passed
	goesAlong  = 12 // this part of its life before it is due
	firstPause = 60
	longPause  = 6

	// maxRenewals is what the API takes in one call.
	maxRenewals = 10_000

	// One try may take a quarter of the shortest life left, within these bounds,
	// as all leases wait for it.
	shortTry, longTry = 50 * time.Millisecond, time.Second
)

// renewals are the leases that a client keeps alive.
type renewals struct {
	wake chan struct{} // tells the renewing goroutine to look again

	mu     sync.Mutex        // guards what follows, and the changing part of each Lease
	held   map[string]*Lease // by id; exactly those in state leaseHeld
	next   time.Time         // when the renewing goroutine looks again by itself
	closed bool
}

func (r *renewals) init() {
	r.wake = make(chan struct{}, 1)
	r.held = map[string]*Lease{}
}

// hold begins to renew the lease that was just granted, and returns it. If it
// is held already, as after a repeated Acquire, there is still only one Lease.
func (r *renewals) hold(l *Lease, expires time.Time) *Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	l = r.addLocked(l)
	if l.state == leaseHeld {
		l.renewedLocked(time.Now(), expires)
		r.wakeLocked(l.due)
	}
	return l
}

// attach begins to renew a lease of which only the id is known.
func (r *renewals) attach(l *Lease) *Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := r.held[l.id]; held != nil {
		return held
	}
	r.addLocked(l)
	if l.state == leaseHeld {
		now := time.Now()
		l.due, l.expires = now, now.Add(l.ttl)
		r.wakeLocked(l.due)
	}
	return l
}

// addLocked adds l, which is new, and returns the lease of that id that is held.
func (r *renewals) addLocked(l *Lease) *Lease {
	if held := r.held[l.id]; held != nil {
		return held
	}
	l.lost = make(chan struct{})
	r.held[l.id] = l
	if r.closed {
		r.loseLocked(l, ErrClosed)
	}
	return l
}

// holds reports whether the lease is held.
func (r *renewals) holds(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[id] != nil
}

// all returns the leases that are held.
func (r *renewals) all() []*Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	ls := make([]*Lease, 0, len(r.held))
	for _, l := range r.held {
		ls = append(ls, l)
	}
	return ls
}

// end stops the renewal of l, if it is held, by the call that start makes. It
// returns the call under way if it is for the same state, else nil.
func (r *renewals) end(l *Lease, state leaseState, start func() *ending) *ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.state == leaseHeld {
		l.state, l.ending = state, start()
		delete(r.held, l.id)
	}
	if l.state != state {
		return nil
	}
	return l.ending
}

// abandon loses all leases, and all that come.
func (r *renewals) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, l := range r.held {
		r.loseLocked(l, ErrClosed)
	}
}

func (r *renewals) loseLocked(l *Lease, err error) {
	l.state, l.err = leaseLost, err
	delete(r.held, l.id)
	close(l.lost)
}

// wakeLocked makes sure that the renewing goroutine looks again by t.
func (r *renewals) wakeLocked(t time.Time) {
	if !t.Before(r.next) {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // it has been told
	}
}

// renewedLocked notes that the lease lives at least until expires.
func (l *Lease) renewedLocked(now, expires time.Time) {
	l.tries, l.err = 0, nil
	l.expires = expires
	l.due = now.Add(expires.Sub(now) / dueAfter)
}

// failedLocked notes that a renewal failed, but that it may be tried again.
func (l *Lease) failedLocked(now time.Time, e *Error) {
	pause := l.ttl / longPause
	if shift := min(l.tries, 16); l.ttl/firstPause<<shift < pause {
		pause = l.ttl / firstPause << shift
	}
	l.tries++
	l.err = e
	l.due = now.Add(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64())))
}

// take loses what has expired and returns what to renew in one call, how long
// that may take, and, if there is nothing to renew, when to look again.
func (r *renewals) take(now time.Time) (due, lost []*Lease, patience time.Duration, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	patience = longTry
	next = now.Add(time.Hour)
	for _, l := range r.held {
		if !now.Before(l.expires) {
			r.loseLocked(l, expired(l.err))
			lost = append(lost, l)
			continue
		}
		patience = min(patience, l.expires.Sub(now)/4)
		for _, t := range [...]time.Time{l.due, l.expires} {
			if t.Before(next) {
				next = t
			}
		}
	}
	r.next = next
	if next.After(now) {
		return nil, lost, 0, next
	}
	for _, l := range r.held {
		if along := l.ttl / goesAlong; !l.due.Add(-along).After(now) && len(due) < maxRenewals {
			due = append(due, l)
		}
	}
	return due, lost, max(patience, shortTry), next
}

// expired is why a lease is lost that could not be renewed because of err.
func expired(err error) error {
	if err == nil {
		return errors.New("client: the lease has expired")
	}
	return fmt.Errorf("client: the lease has expired: %w", err)
}

// renew is the goroutine that keeps leases alive until the client is closed.
func (c *Client) renew() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c.background.Err() == nil {
		due, lost, patience, next := c.renewals.take(time.Now())
		c.reportLost(lost)
		if len(due) > 0 {
			c.renewAll(due, patience)
			continue
		}
		timer.Reset(time.Until(next))
		select {
		case <-c.background.Done():
		case <-c.renewals.wake:
		case <-timer.C:
		}
	}
}

// renewAll renews leases, in a call for each node that decides for some.
func (c *Client) renewAll(leases []*Lease, patience time.Duration) {
	top := c.topology.Load()
	parts := map[*node][]*Lease{} // by holder; nil: any node
	for _, l := range leases {
		holder := top.holder(l.partition)
		parts[holder] = append(parts[holder], l)
	}
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() { c.renewPart(part, patience) })
	}
	all.Wait()
}

// renewPart renews leases by one call.
func (c *Client) renewPart(leases []*Lease, patience time.Duration) {
	asked := time.Now()
	r := route{partition: leases[0].partition, timeout: patience, once: true}
	res, e := invoke(c.background, c, r, sluicev1.RateLimiterServiceClient.Renew, renewRequest(leases))
	if e == nil && len(res.GetResults()) != len(leases) {
		e = errNoAnswer("Renew")
	}
	if errors.Is(c.background.Err(), context.Canceled) {
		return
	}
	c.note(c.background, e)

	now := time.Now()
	var lost []*Lease
	c.renewals.mu.Lock()
	for i, l := range leases {
		if l.state != leaseHeld { // released meanwhile
			continue
		}
		switch expires, one := readRenewal(res, i, asked, e); {
		case one == nil:
			l.renewedLocked(now, expires)
		case e == nil && !undecided(one.GRPC):
			c.renewals.loseLocked(l, one)
			lost = append(lost, l)
		default:
			l.failedLocked(now, one)
		}
	}
	c.renewals.mu.Unlock()
	c.reportLost(lost)
}

// readRenewal returns until when the i-th lease of a call lives at least, or
// why that is not known. The call was made at asked and failed with e, if not nil.
func readRenewal(res *sluicev1.RenewResponse, i int, asked time.Time, e *Error) (time.Time, *Error) {
	if e != nil {
		return time.Time{}, e
	}
	r := res.GetResults()[i]
	if st := r.GetError(); st != nil && codes.Code(st.GetCode()) != codes.OK {
		return time.Time{}, readStatus(st)
	}
	if r.GetExpiresInMs() == 0 {
		return time.Time{}, errNoAnswer("Renew")
	}
	return asked.Add(millis(r.GetExpiresInMs())), nil
}

func renewRequest(leases []*Lease) *sluicev1.RenewRequest {
	req := &sluicev1.RenewRequest{Leases: make([]*sluicev1.LeaseRenewal, len(leases))}
	for i, l := range leases {
		req.Leases[i] = &sluicev1.LeaseRenewal{LeaseId: l.id, TtlMs: uint32(min(l.ttl.Milliseconds(), math.MaxUint32))}
	}
	return req
}

func (c *Client) reportLost(leases []*Lease) {
	for _, l := range leases {
		c.log.Warn("lease lost", "run_id", l.runID, "error", l.Err())
	}
}
