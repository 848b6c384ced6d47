package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// Concurrent is how many runs a key must be allowed.
const Concurrent = runsOfKey + 1

// The runs that are held: some keys, each with as many as it may have but for one, with which
// it is asked how many there are.
const (
	runKeys      = 40
	runsOfKey    = 5
	runTTL       = 30 * time.Second
	renewEvery   = time.Second
	releaseEvery = 100 * time.Millisecond
	releaseMost  = runKeys * runsOfKey / 4
	leaseWaits   = 10 * time.Second // any one answer
)

// A slot is what one run has.
type slot struct {
	key     string
	lease   string
	ended   bool   // it was, or is being, released
	how     string // that went
	lost    string // when and why, if it was
	renewed bool   // since the last time that it was looked
}

// Runs are a worker's: it acquires, renews and releases leases at any node.
type Runs struct {
	Circle *Circle
	turn   int

	mu  sync.Mutex // guards all of all
	all []*slot
}

// Leases is what is certain of the leases of all runs.
type Leases struct {
	Held    int `json:"held"`    // after the event
	Lost    int `json:"lost"`    // that should be held as well
	Doubled int `json:"doubled"` // that count though nobody holds them
	Left    int `json:"left"`    // that count after all were released

	Problems []string `json:"-"`
}

func (l *Leases) problem(format string, args ...any) {
	l.Problems = append(l.Problems, fmt.Sprintf(format, args...))
}

// ClockFormat is that of the nodes' logs, as far as it helps to find a line there.
const ClockFormat = "15:04:05.000"

func runKey(i int) string { return fmt.Sprintf("run-key-%02d", i) }

// call makes one call with tries at several nodes.
func (r *Runs) call(ctx context.Context, do func(ctx context.Context, node sluicev1.RateLimiterServiceClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, leaseWaits)
	defer cancel()
	r.mu.Lock()
	r.turn++
	turn := r.turn
	r.mu.Unlock()
	return r.Circle.Ask(ctx, turn, func(ctx context.Context, _ string, node sluicev1.RateLimiterServiceClient) error {
		return do(ctx, node)
	})
}

func (r *Runs) acquireOne(ctx context.Context, key, id string) (resp *sluicev1.AcquireResponse, err error) {
	err = r.call(ctx, func(ctx context.Context, node sluicev1.RateLimiterServiceClient) (err error) {
		resp, err = node.Acquire(ctx, &sluicev1.AcquireRequest{Key: key, RunId: id, TtlMs: uint32(runTTL.Milliseconds())})
		return err
	})
	return resp, err
}

func (r *Runs) releaseOne(ctx context.Context, lease string) (released bool, err error) {
	err = r.call(ctx, func(ctx context.Context, node sluicev1.RateLimiterServiceClient) error {
		resp, err := node.Release(ctx, &sluicev1.ReleaseRequest{LeaseId: lease})
		released = resp.GetReleased()
		return err
	})
	return released, err
}

// Acquire takes a slot for each run.
func (r *Runs) Acquire(ctx context.Context) error {
	for i := range runKeys {
		for j := range runsOfKey {
			resp, err := r.acquireOne(ctx, runKey(i), fmt.Sprintf("run-%d", j))
			if err != nil || !resp.GetGranted() {
				return fmt.Errorf("%s: run %d got no slot: %v, %w", runKey(i), j, resp.GetReason(), err)
			}
			r.all = append(r.all, &slot{key: runKey(i), lease: resp.GetLeaseId()})
		}
	}
	return nil
}

// Hold renews what is held until ctx ends.
func (r *Runs) Hold(ctx context.Context) {
	for Wait(ctx, renewEvery) == nil {
		_ = r.renew(ctx) // what fails is tried again
	}
}

// renew extends what is held, and notes what is gone.
func (r *Runs) renew(ctx context.Context) error {
	req := &sluicev1.RenewRequest{}
	var asked []*slot
	r.mu.Lock()
	for _, one := range r.all {
		if one.renewed = false; !one.ended && one.lost == "" {
			asked = append(asked, one)
			req.Leases = append(req.Leases, &sluicev1.LeaseRenewal{LeaseId: one.lease, TtlMs: uint32(runTTL.Milliseconds())})
		}
	}
	r.mu.Unlock()
	return r.call(ctx, func(ctx context.Context, node sluicev1.RateLimiterServiceClient) error {
		resp, err := node.Renew(ctx, req)
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, result := range resp.GetResults() {
			st := result.GetError()
			switch codes.Code(st.GetCode()) {
			case codes.OK:
				asked[i].renewed = true
			case codes.NotFound, codes.FailedPrecondition:
				if !asked[i].ended {
					asked[i].lost = fmt.Sprintf("at %s: %s", time.Now().Format(ClockFormat), st.GetMessage())
				}
			default:
				err = status.ErrorProto(st)
			}
		}
		return err
	})
}

// Release ends some of the runs, one after the other, until ctx ends.
func (r *Runs) Release(ctx context.Context) (err error) {
	for i := range releaseMost {
		if Wait(ctx, releaseEvery) != nil {
			break
		}
		r.mu.Lock()
		one := r.all[i*len(r.all)/releaseMost]
		one.ended = true
		r.mu.Unlock()
		from := time.Now()
		released, e := r.releaseOne(context.WithoutCancel(ctx), one.lease)
		if e != nil {
			err = fmt.Errorf("%s: a run could not be released: %w", one.key, e)
		}
		r.mu.Lock()
		one.how = fmt.Sprintf("released from %s to %s: %v", from.Format(ClockFormat), time.Now().Format(ClockFormat), released)
		r.mu.Unlock()
	}
	return err
}

// Count finds out what became of the leases, and ends them all.
func (r *Runs) Count(ctx context.Context, admin adminv1.AdminServiceClient) (l Leases, err error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := r.renew(ctx); err != nil {
		l.problem("not all leases could be renewed: %v", err)
	}
	held, gone := map[string]int{}, map[string][]string{}
	for _, one := range r.all {
		switch {
		case one.ended:
		case one.lost != "":
			gone[one.key] = append(gone[one.key], "lost "+one.lost)
		case !one.renewed:
			gone[one.key] = append(gone[one.key], "not renewed in the end")
		default:
			held[one.key]++
			l.Held++
		}
	}
	for i := range runKeys {
		key := runKey(i)
		if g := gone[key]; len(g) > 0 {
			l.Lost += len(g)
			l.problem("%s, %s: %d leases gone, one %s", key, whereabouts(ctx, admin, key), len(g), g[0])
		}
		if err := r.countKey(ctx, key, held[key], len(gone[key]), &l); err != nil {
			return l, err
		}
	}
	for _, one := range r.all {
		if !one.ended {
			if _, err := r.releaseOne(ctx, one.lease); err != nil {
				return l, fmt.Errorf("%s, %s: a run could not be released: %w", one.key, whereabouts(ctx, admin, one.key), err)
			}
		}
	}
	resp, err := admin.ListLeases(ctx, &adminv1.ListLeasesRequest{Limit: 10_000})
	if err != nil {
		return l, fmt.Errorf("leases could not be listed: %w", err)
	}
	l.Left = len(resp.GetLeases())
	for _, one := range resp.GetLeases() {
		l.problem("run %q of identity %s is left at %s", one.GetRunId(), one.GetIdentity(), one.GetHolder())
	}
	return l, nil
}

// whereabouts says where a key is decided.
func whereabouts(ctx context.Context, admin adminv1.AdminServiceClient, key string) string {
	r, err := admin.Inspect(ctx, &adminv1.InspectRequest{Key: key})
	if err != nil {
		return err.Error()
	}
	p := r.GetPlacement()
	return fmt.Sprintf("held by %s (partition %d, generation %s, copies %v)", p.GetHolder(), p.GetPartition(), p.GetGeneration(), p.GetCopies())
}

// countKey compares the slots that a key has in use with those that it holds. Of those that
// were not renewed it may have any.
func (r *Runs) countKey(ctx context.Context, key string, held, gone int, l *Leases) error {
	resp, err := r.acquireOne(ctx, key, "one more")
	if err != nil {
		return fmt.Errorf("%s could not be asked how many runs it has: %w", key, err)
	}
	used := int(resp.GetInUse())
	if resp.GetGranted() {
		used--
		if _, err := r.releaseOne(ctx, resp.GetLeaseId()); err != nil {
			return fmt.Errorf("%s: a run could not be released: %w", key, err)
		}
	}
	switch {
	case used > held+gone:
		l.Doubled += used - held - gone
		l.problem("%s has %d slots in use and holds %d", key, used, held)
		for _, one := range r.all {
			if one.key == key && one.ended {
				l.problem("%s: a run was %s", key, one.how)
			}
		}
	case used < held:
		l.Lost += held - used
		l.problem("%s has %d slots in use and holds %d", key, used, held)
	}
	return nil
}
