package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// acquire takes a slot for a run.
func (s *service) acquire(c *call, req *sluicev1.AcquireRequest) (*sluicev1.AcquireResponse, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, unavailable("the call's deadline had passed before it was decided")
	}
	tier, refused, err := c.resolve(req.Key, req.Tier, field{})
	if err != nil {
		return nil, err
	}
	a, err := acquisition(req)
	if err != nil {
		return nil, err
	}
	a.Tier = tier
	if refused != limiter.ReasonNone {
		g := limiter.Grant{Reason: refused, Exactness: limiter.Exact}
		c.granted(&a, &g)
		return c.tellRun(&a, &g, false, refusal(req, tier, refused, c.wall)), nil
	}
	a.Key = s.hasher.Key(req.Key)
	a.Run = s.hasher.Run(req.RunId)
	a.RequestID = c.requestID()
	a.Nonce = rand.Uint64()
	if s.cluster != nil {
		asked := acquireCall(&a)
		asked.Deadline, asked.Trace = deadline(c.ctx, c.now), c.trace()
		answer, err := s.ask(c.ctx, asked)
		if err != nil {
			return nil, err
		}
		_, wall := s.clock()
		c.granted(&a, &answer.Grant)
		return c.tellRun(&a, &answer.Grant, answer.Forwarded, s.grant(&a, answer.Grant, wall)), nil
	}
	g, err := s.table.Acquire(&a, c.now)
	switch {
	case errors.Is(err, limiter.ErrConflict):
		return nil, runConflict()
	case err != nil:
		return nil, err
	}
	c.granted(&a, &g)
	return c.tellRun(&a, &g, false, s.grant(&a, g, c.wall)), nil
}

// tellRun tells trace and log of an acquisition what its caller is told, which it returns.
func (c *call) tellRun(a *limiter.Acquisition, g *limiter.Grant, forwarded bool, resp *sluicev1.AcquireResponse) *sluicev1.AcquireResponse {
	if !g.Granted && c.of.denials.due(g.Reason, c.now) {
		wait := time.Duration(resp.GetRetryAfterMs()) * time.Millisecond
		c.tellDenial(&denial{reason: g.Reason, wait: wait, run: a.RunID, task: a.TaskID})
	}
	if c.span != nil {
		c.span.Decided(acquiredOf(a, g, forwarded))
	}
	return resp
}

// acquisition checks what req asks for, beside its key and tier.
func acquisition(req *sluicev1.AcquireRequest) (limiter.Acquisition, error) {
	var a limiter.Acquisition
	if req.RunId == "" {
		return a, field{name: "run_id"}.invalid("is required")
	}
	if n := len(req.RunId); n > limiter.MaxRunIDLen {
		return a, field{name: "run_id"}.outOfRange(fmt.Sprintf("has %d bytes, must have 1 to %d", n, limiter.MaxRunIDLen))
	}
	if n := len(req.TaskId); n > limiter.MaxRunIDLen {
		return a, field{name: "task_id"}.outOfRange(fmt.Sprintf("has %d bytes, must have at most %d", n, limiter.MaxRunIDLen))
	}
	ttl, err := ttlOf(req.TtlMs, field{name: "ttl_ms"})
	if err != nil {
		return a, err
	}
	if req.RequestCost != nil {
		cost, err := costOf(*req.RequestCost, field{}, "request_cost")
		if err != nil {
			return a, err
		}
		a.Cost = &cost
	}
	// The lease outlives the call, whose strings do not.
	a.RunID, a.TaskID, a.TTL = strings.Clone(req.RunId), strings.Clone(req.TaskId), ttl
	return a, nil
}

// ttlOf checks a lease's time to live.
func ttlOf(ms uint32, at field) (time.Duration, error) {
	ttl := time.Duration(ms) * time.Millisecond
	if ttl < limiter.MinTTL || ttl > limiter.MaxTTL {
		return 0, at.outOfRange(fmt.Sprintf("is %d, must be from %d to %d", ms, limiter.MinTTL.Milliseconds(), limiter.MaxTTL.Milliseconds()))
	}
	return ttl, nil
}

// refusal answers for a key that the directory refuses.
func refusal(req *sluicev1.AcquireRequest, tier *limiter.Tier, why limiter.Reason, wall time.Time) *sluicev1.AcquireResponse {
	resp := &sluicev1.AcquireResponse{Reason: sluicev1.Reason(why), Exactness: sluicev1.Exactness_EXACTNESS_EXACT}
	if tier != nil {
		resp.Limit = tier.Concurrent()
	}
	if req.RequestCost != nil {
		resp.Decision = new(sluicev1.Decision)
		put(resp.Decision, new(uint32), limiter.Decision{Reason: why, Exactness: limiter.Exact, Limit: limitOf(tier)}, wall)
	}
	return resp
}

// grant answers with what the engine granted or denied.
func (s *service) grant(a *limiter.Acquisition, g limiter.Grant, wall time.Time) *sluicev1.AcquireResponse {
	resp := &sluicev1.AcquireResponse{
		Granted: g.Granted, InUse: g.InUse, Limit: g.Limit,
		Reason: sluicev1.Reason(g.Reason), Exactness: sluicev1.Exactness(g.Exactness),
	}
	if g.Granted {
		resp.LeaseId = s.sealer.Seal(limiter.LeaseRef{Key: a.Key, Tier: s.sealer.Tier(a.Tier.Name()), Run: a.Run, Nonce: g.Nonce})
		resp.ExpiresInMs = inMillis(g.ExpiresIn)
	}
	if a.Cost != nil {
		resp.Decision = new(sluicev1.Decision)
		put(resp.Decision, new(uint32), g.Decision, wall)
	}
	if wait := retryAfter(a.Tier, g); wait > 0 {
		ms := inMillis(wait)
		resp.RetryAfterMs = &ms
	}
	return resp
}

// retryAfter returns what a denied run is told to wait: exactly as long as its windows
// say, and if the slots are taken at least as long as the jittered hint. 0: none.
func retryAfter(tier *limiter.Tier, g limiter.Grant) time.Duration {
	wait := g.Decision.RetryAfter
	slotsTaken := g.Reason == limiter.ReasonConcurrencyLimited || wait > 0 && g.InUse >= g.Limit
	if !slotsTaken || g.Limit == 0 { // of a tier without runs no slot is ever free
		return wait
	}
	return max(wait, tier.RunRetryAfter(g.FreesIn, rand.Float64()))
}

// renew extends leases, each on its own.
func (s *service) renew(c *call, req *sluicev1.RenewRequest) (*sluicev1.RenewResponse, error) {
	if s.cluster != nil {
		return s.renewAll(c, req), nil
	}
	resp := &sluicev1.RenewResponse{Results: make([]*sluicev1.LeaseRenewalResult, len(req.Leases))}
	for i, l := range req.Leases {
		ref, ttl, err := s.renewal(l, field{list: "leases", index: i})
		if err != nil {
			resp.Results[i] = renewalError(err)
			continue
		}
		left, err := s.table.Renew(ref, ttl, nil, c.now)
		if err != nil {
			resp.Results[i] = renewalError(leaseGone())
			continue
		}
		resp.Results[i] = renewed(left)
	}
	return resp, nil
}

func renewed(left time.Duration) *sluicev1.LeaseRenewalResult {
	return &sluicev1.LeaseRenewalResult{Result: &sluicev1.LeaseRenewalResult_ExpiresInMs{ExpiresInMs: inMillis(left)}}
}

func renewalError(err error) *sluicev1.LeaseRenewalResult {
	return &sluicev1.LeaseRenewalResult{Result: &sluicev1.LeaseRenewalResult_Error{Error: toProto(err)}}
}

// renewal checks one renewal and opens its lease id.
func (s *service) renewal(l *sluicev1.LeaseRenewal, at field) (ref limiter.LeaseRef, ttl time.Duration, err error) {
	at.name = "lease_id"
	if l.GetLeaseId() == "" {
		return ref, 0, at.invalid("is required")
	}
	at.name = "ttl_ms"
	if ttl, err = ttlOf(l.GetTtlMs(), at); err != nil {
		return ref, 0, err
	}
	ref, ok := s.sealer.Open(l.GetLeaseId())
	if !ok {
		return ref, 0, leaseNotFound()
	}
	return ref, ttl, nil
}

// release ends a lease. It does so even if its caller is gone: that is when slots leak.
func (s *service) release(c *call, req *sluicev1.ReleaseRequest) (*sluicev1.ReleaseResponse, error) {
	if req.LeaseId == "" {
		return nil, field{name: "lease_id"}.invalid("is required")
	}
	ref, ok := s.sealer.Open(req.LeaseId)
	if !ok {
		return nil, leaseNotFound()
	}
	if s.cluster == nil {
		released, err := s.table.Release(ref, c.now)
		return &sluicev1.ReleaseResponse{Released: released}, err
	}
	// The deadline is the caller's, its being gone is not.
	a, err := s.ask(context.WithoutCancel(c.ctx), &peer.Call{Kind: peer.Release, Key: ref.Key, Ref: ref, Deadline: deadline(c.ctx, c.now), Trace: c.trace()})
	if err != nil {
		return nil, err
	}
	if c.span != nil && a.Forwarded {
		c.span.Forwarded()
	}
	return &sluicev1.ReleaseResponse{Released: a.Released}, nil
}
