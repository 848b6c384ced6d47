// Package fakelimiter is a limiter in memory, for the tests of the client and of
// what stands on it. It is served over an in-process connection, which works in a
// testing/synctest bubble, or as a Cluster of nodes over loopback.
//
// Keys are not told apart: it has one count of units and one set of slots. A
// test sees every call, and can fail, delay or lose each kind of call.
package fakelimiter

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// Target is what to dial, with the options that DialOption returns.
const Target = "passthrough:///limiter"

// A Limiter counts down from Units and grants Slots. Set its fields before the
// first call.
type Limiter struct {
	sluicev1.UnimplementedRateLimiterServiceServer

	Units uint32
	Slots int
	// Wait is how long one waits for units.
	Wait time.Duration
	// Deny, if set, is the reason for which everything is denied.
	Deny sluicev1.Reason
	// Decide, if set, decides checks.
	Decide func(*sluicev1.CheckRequest) *sluicev1.Decision

	listener *bufconn.Listener // nil in a Cluster

	mu     sync.Mutex
	used   uint32
	leases map[string]*lease
	calls  []Call
	before map[string]Hook
	after  map[string]Hook
}

type lease struct {
	run     string
	expires time.Time
}

// A Hook runs in a call. If it fails the call is answered with its error.
type Hook func(ctx context.Context, req proto.Message) error

// A Call is one call as it arrived.
type Call struct {
	Method    string // Check, CheckBatch, Acquire, Renew or Release
	Stream    bool   // it is a Check that came by a stream
	Sequence  uint64 // of the stream's message
	Node      int    // that it came to, by its place in the Cluster
	Time      time.Time
	RequestID string
	Request   proto.Message
}

// Start serves a Limiter of 10 units and 2 slots until the test ends.
func Start(t testing.TB, opts ...grpc.ServerOption) *Limiter {
	t.Helper()
	f, stop := Serve(opts...)
	t.Cleanup(stop)
	return f
}

// Serve serves a Limiter of 10 units and 2 slots until stop is called.
func Serve(opts ...grpc.ServerOption) (f *Limiter, stop func()) {
	f = newLimiter()
	f.listener = bufconn.Listen(1 << 20)
	n := newNode(f, 0, opts...)
	n.serve(f.listener)
	return f, n.Stop
}

func newLimiter() *Limiter {
	return &Limiter{
		Units: 10, Slots: 2, Wait: 42_500 * time.Millisecond,
		leases: map[string]*lease{}, before: map[string]Hook{}, after: map[string]Hook{},
	}
}

// DialOption connects a client to the Limiter.
func (f *Limiter) DialOption() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.Dial(ctx) })
}

// Dial returns a connection to the Limiter.
func (f *Limiter) Dial(ctx context.Context) (net.Conn, error) { return f.listener.DialContext(ctx) }

// Before sets what runs in calls of method before they take effect; nil: nothing.
// Besides the methods of a Call, CheckStream is where a stream begins, and batched is
// one check of a CheckBatch.
func (f *Limiter) Before(method string, h Hook) { f.set(f.before, method, h) }

// After sets what runs in calls of method when they have taken effect, before
// they are answered; nil: nothing.
func (f *Limiter) After(method string, h Hook) { f.set(f.after, method, h) }

func (f *Limiter) set(hooks map[string]Hook, method string, h Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hooks[method] = h
}

// Fail is a Hook that answers with code.
func Fail(code codes.Code) Hook {
	return func(context.Context, proto.Message) error { return status.Error(code, "told to fail") }
}

// Lose is a Hook after which the caller gets no answer in time.
func Lose(ctx context.Context, _ proto.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// Calls returns the calls of method so far.
func (f *Limiter) Calls(method string) []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.calls), func(c Call) bool { return c.Method != method })
}

// Held returns the runs that have a slot now, in order.
func (f *Limiter) Held() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	runs := []string{}
	for _, l := range f.liveLocked() {
		runs = append(runs, l.run)
	}
	slices.Sort(runs)
	return runs
}

// Expires returns when the lease with this id ends; the zero time if it is over.
func (f *Limiter) Expires(id string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.liveLocked()[id]; l != nil {
		return l.expires
	}
	return time.Time{}
}

// End ends a lease, as an operator could.
func (f *Limiter) End(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.leases, id)
}

// Used returns the units counted so far.
func (f *Limiter) Used() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// note keeps a call, for Calls.
func (f *Limiter) note(call Call) {
	call.Time = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

// serve answers a call by handle, between the hooks of its method.
func (f *Limiter) serve(ctx context.Context, call Call, handle func() (any, error)) (any, error) {
	if err := f.hook(ctx, call.Method, call.Request); err != nil {
		return nil, err
	}
	res, err := handle()
	f.mu.Lock()
	after := f.after[call.Method]
	f.mu.Unlock()
	if err == nil && after != nil {
		err = after(ctx, call.Request)
	}
	return res, err
}

// hook runs what was set to run before calls of method.
func (f *Limiter) hook(ctx context.Context, method string, req proto.Message) error {
	f.mu.Lock()
	before := f.before[method]
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, req)
}

// liveLocked drops what has expired and returns the rest.
func (f *Limiter) liveLocked() map[string]*lease {
	now := time.Now()
	for id, l := range f.leases {
		if !now.Before(l.expires) {
			delete(f.leases, id)
		}
	}
	return f.leases
}

func (f *Limiter) decideLocked(cost uint32) *sluicev1.Decision {
	d := &sluicev1.Decision{Limit: f.Units, Remaining: f.Units - f.used, Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
	switch {
	case f.Deny != 0:
		d.Reason = f.Deny
	case cost > f.Units:
		d.Reason = sluicev1.Reason_REASON_COST_EXCEEDS_LIMIT
	case max(cost, 1) > d.Remaining:
		d.Reason = sluicev1.Reason_REASON_RATE_LIMITED
		ms := uint32(f.Wait.Milliseconds())
		d.ResetAfterMs, d.RetryAfterMs = ms, &ms
	default:
		d.Allowed = true
		d.ResetAfterMs = 60_000
		f.used += cost
		d.Remaining -= cost
	}
	return d
}

// Check decides one request. An empty key is missing.
func (f *Limiter) Check(_ context.Context, req *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	if req.GetKey() == "" {
		return nil, status.Error(codes.InvalidArgument, "/key is missing")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	cost := uint32(1)
	if req.Cost != nil {
		cost = *req.Cost
	}
	if f.Decide != nil {
		return &sluicev1.CheckResponse{Decision: f.Decide(req)}, nil
	}
	d := f.decideLocked(cost)
	if req.GetExplain() {
		// As many windows as a tier may have, all the same.
		for range 4 {
			d.Windows = append(d.Windows, &sluicev1.WindowState{
				Limit: d.Limit, PerMs: 60_000, Used: f.used, Remaining: d.Remaining,
				ResetAfterMs: d.ResetAfterMs, RetryAfterMs: d.RetryAfterMs,
			})
		}
	}
	return &sluicev1.CheckResponse{Decision: d}, nil
}

// CheckBatch decides each check as Check does.
func (f *Limiter) CheckBatch(ctx context.Context, req *sluicev1.CheckBatchRequest) (*sluicev1.CheckBatchResponse, error) {
	res := &sluicev1.CheckBatchResponse{}
	for _, check := range req.GetChecks() {
		var one *sluicev1.CheckResponse
		err := f.hook(ctx, "batched", check)
		if err == nil {
			one, err = f.Check(ctx, check)
		}
		r := &sluicev1.CheckResult{Result: &sluicev1.CheckResult_Decision{Decision: one.GetDecision()}}
		if err != nil {
			r.Result = &sluicev1.CheckResult_Error{Error: status.Convert(err).Proto()}
		}
		res.Results = append(res.Results, r)
	}
	return res, nil
}

// Acquire grants a slot. The lease of a run is named after it.
func (f *Limiter) Acquire(_ context.Context, req *sluicev1.AcquireRequest) (*sluicev1.AcquireResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	live := f.liveLocked()
	id := "lease-" + req.GetRunId()
	res := &sluicev1.AcquireResponse{Limit: uint32(f.Slots), InUse: uint32(len(live)), Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
	if l := live[id]; l != nil {
		res.Granted, res.LeaseId = true, id
		res.ExpiresInMs = uint32(time.Until(l.expires).Milliseconds())
		return res, nil
	}
	if len(live) >= f.Slots {
		res.Reason, res.RetryAfterMs = sluicev1.Reason_REASON_CONCURRENCY_LIMITED, proto.Uint32(4_200)
		if req.RequestCost != nil {
			res.Decision = &sluicev1.Decision{Allowed: true, Limit: f.Units, Remaining: f.Units - f.used, Exactness: res.Exactness}
		}
		return res, nil
	}
	if req.RequestCost != nil || f.Deny != 0 {
		d := f.decideLocked(req.GetRequestCost())
		res.Decision = d
		if !d.Allowed {
			res.Reason, res.RetryAfterMs = d.Reason, d.RetryAfterMs
			return res, nil
		}
	}
	f.leases[id] = &lease{req.GetRunId(), time.Now().Add(time.Duration(req.GetTtlMs()) * time.Millisecond)}
	res.Granted, res.LeaseId, res.ExpiresInMs, res.InUse = true, id, req.GetTtlMs(), uint32(len(live))
	return res, nil
}

// Renew extends leases; one that is over is FAILED_PRECONDITION.
func (f *Limiter) Renew(_ context.Context, req *sluicev1.RenewRequest) (*sluicev1.RenewResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := &sluicev1.RenewResponse{}
	for _, r := range req.GetLeases() {
		one := &sluicev1.LeaseRenewalResult{Result: &sluicev1.LeaseRenewalResult_ExpiresInMs{ExpiresInMs: r.GetTtlMs()}}
		if l := f.liveLocked()[r.GetLeaseId()]; l != nil {
			l.expires = time.Now().Add(time.Duration(r.GetTtlMs()) * time.Millisecond)
		} else {
			st := status.New(codes.FailedPrecondition, "the lease is over")
			one.Result = &sluicev1.LeaseRenewalResult_Error{Error: st.Proto()}
		}
		res.Results = append(res.Results, one)
	}
	return res, nil
}

// Release frees a slot.
func (f *Limiter) Release(_ context.Context, req *sluicev1.ReleaseRequest) (*sluicev1.ReleaseResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, held := f.liveLocked()[req.GetLeaseId()]
	delete(f.leases, req.GetLeaseId())
	return &sluicev1.ReleaseResponse{Released: held}, nil
}

// Renewals returns when the renewals of a lease arrived.
func (f *Limiter) Renewals(id string) []time.Time {
	var at []time.Time
	for _, c := range f.Calls("Renew") {
		for _, l := range c.Request.(*sluicev1.RenewRequest).GetLeases() {
			if l.GetLeaseId() == id {
				at = append(at, c.Time)
			}
		}
	}
	return at
}
