package envoy

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The entries of a descriptor that mean something.
const (
	keyEntry  = "api_key"
	tierEntry = "tier"
)

type rateLimit struct {
	ratelimitv3.UnimplementedRateLimitServiceServer
	limiter Limiter
	now     func() time.Time
}

// ShouldRateLimit decides each descriptor by itself: what one is denied, another keeps. A
// descriptor without a key is OK and counts nothing, as one that no rule is for.
func (s *rateLimit) ShouldRateLimit(ctx context.Context, req *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	checks, places, err := checksOf(req)
	if err != nil {
		return nil, err
	}
	decisions := make([]*sluicev1.Decision, len(req.GetDescriptors())) // nil: no rule is for it
	if err := s.decide(ctx, checks, places, decisions); err != nil {
		return nil, err
	}
	resp := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	var tightest *sluicev1.Decision
	for _, d := range decisions {
		resp.Statuses = append(resp.Statuses, statusOf(d))
		if d != nil && tighter(d, tightest) {
			tightest = d
		}
	}
	if tightest == nil {
		return resp, nil
	}
	h := headersOf(tightest, s.now())
	if !tightest.GetAllowed() {
		resp.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT
		resp.RawBody = denial(tightest, h).Body().Encode()
	}
	for _, o := range options(h) {
		resp.ResponseHeadersToAdd = append(resp.ResponseHeadersToAdd, &corev3.HeaderValue{Key: o.GetHeader().GetKey(), Value: o.GetHeader().GetValue()})
	}
	return resp, nil
}

// decide has checks decided, each for the descriptor at its place. What no key can be is asked of
// nobody.
func (s *rateLimit) decide(ctx context.Context, checks []*sluicev1.CheckRequest, places []int, decisions []*sluicev1.Decision) error {
	var asked []*sluicev1.CheckRequest
	var of []int
	for i, c := range checks {
		if !contract.ValidAPIKey(c.GetKey()) {
			decisions[places[i]] = unknownKey
			continue
		}
		asked, of = append(asked, c), append(of, places[i])
	}
	if len(asked) == 0 {
		return nil
	}
	answer, err := s.limiter.CheckBatch(ctx, &sluicev1.CheckBatchRequest{Checks: asked})
	if err != nil {
		return err
	}
	for i, result := range answer.GetResults() {
		if e := result.GetError(); e != nil {
			return failed(e, fmt.Sprintf("descriptors[%d]", of[i]))
		}
		decisions[of[i]] = result.GetDecision()
	}
	return nil
}

// failed is the error of a check that was made of the descriptor at a place.
func failed(e *spb.Status, at string) error {
	st := status.FromProto(e)
	for _, detail := range st.Details() {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok || len(bad.GetFieldViolations()) == 0 {
			continue
		}
		v := bad.GetFieldViolations()[0]
		_, field, _ := strings.Cut(v.GetField(), ".") // of checks[0].tier
		return invalid(at+"."+field, v.GetDescription())
	}
	return st.Err()
}

// checksOf returns a check for each descriptor with a key, and which descriptor it is for.
func checksOf(req *ratelimitv3.RateLimitRequest) (checks []*sluicev1.CheckRequest, places []int, err error) {
	switch {
	case req.GetDomain() == "":
		return nil, nil, invalid("domain", "is required")
	case len(req.GetDescriptors()) == 0:
		return nil, nil, invalid("descriptors", "is required")
	}
	for i, d := range req.GetDescriptors() {
		at := fmt.Sprintf("descriptors[%d]", i)
		switch {
		case d.GetLimit() != nil:
			return nil, nil, invalid(at+".limit", "is not taken: limits are those of the policy")
		case d.GetIsNegativeHits():
			return nil, nil, invalid(at+".is_negative_hits", "is not taken: what was counted stays counted")
		}
		c, err := checkOf(d, at)
		if err != nil {
			return nil, nil, err
		}
		if c == nil {
			continue
		}
		cost := max(1, req.GetHitsAddend())
		if d.GetHitsAddend() != nil {
			if d.GetHitsAddend().GetValue() > 1_000_000_000 {
				return nil, nil, invalid(at+".hits_addend", "is above 1000000000")
			}
			cost = uint32(d.GetHitsAddend().GetValue())
		}
		c.Cost, c.Explain = &cost, true
		checks, places = append(checks, c), append(places, i)
	}
	return checks, places, nil
}

// checkOf returns the check of a descriptor, nil if it has no key.
func checkOf(d *commonv3.RateLimitDescriptor, at string) (c *sluicev1.CheckRequest, err error) {
	var key, tier *string
	for j, e := range d.GetEntries() {
		var to **string
		switch e.GetKey() {
		case keyEntry:
			to = &key
		case tierEntry:
			to = &tier
		default:
			continue
		}
		if *to != nil {
			return nil, invalid(fmt.Sprintf("%s.entries[%d]", at, j), "is the second of its kind")
		}
		value := e.GetValue()
		*to = &value
	}
	if key == nil {
		return nil, nil //nolint:nilnil // there is nothing to check, and nothing wrong
	}
	c = &sluicev1.CheckRequest{Key: *key}
	if tier != nil {
		c.Tier = *tier
	}
	return c, nil
}

// tighter tells whether a says more of what the client may do than b, which may be nil: a denial
// before what is allowed, of denials the longest wait, of the others the one with least left.
func tighter(a, b *sluicev1.Decision) bool {
	switch {
	case b == nil:
		return true
	case a.GetAllowed() != b.GetAllowed():
		return b.GetAllowed()
	case !a.GetAllowed():
		return wait(a) > wait(b)
	}
	return a.GetRemaining() < b.GetRemaining()
}

// wait is how long a denied client waits, in milliseconds; where no wait helps it is for ever.
func wait(d *sluicev1.Decision) uint64 {
	if d.RetryAfterMs == nil {
		return 1 << 32
	}
	return uint64(d.GetRetryAfterMs())
}

// statusOf returns the status of a descriptor; d is nil if it has no key.
func statusOf(d *sluicev1.Decision) *ratelimitv3.RateLimitResponse_DescriptorStatus {
	s := &ratelimitv3.RateLimitResponse_DescriptorStatus{Code: ratelimitv3.RateLimitResponse_OK}
	if d == nil {
		return s
	}
	s.LimitRemaining, s.DurationUntilReset = d.GetRemaining(), durationpb.New(millis(d.GetResetAfterMs()))
	if !d.GetAllowed() {
		s.Code = ratelimitv3.RateLimitResponse_OVER_LIMIT
	}
	if d.GetLimit() > 0 {
		s.CurrentLimit = limitOf(d)
	}
	return s
}

// limitOf returns the limit of the window that binds.
func limitOf(d *sluicev1.Decision) *ratelimitv3.RateLimitResponse_RateLimit {
	l := &ratelimitv3.RateLimitResponse_RateLimit{RequestsPerUnit: d.GetLimit()}
	for _, w := range d.GetWindows() {
		if w.GetLimit() == d.GetLimit() && (w.GetRemaining() == d.GetRemaining() || !d.GetAllowed()) {
			l.Unit, l.UnitMultiplier = unitsOf(millis(w.GetPerMs()))
			break
		}
	}
	return l
}

// unitsOf returns a window's length in the largest unit of which it has a whole number, and that
// number if it is not 1. The unit of others is UNKNOWN.
func unitsOf(per time.Duration) (ratelimitv3.RateLimitResponse_RateLimit_Unit, *wrapperspb.UInt32Value) {
	for _, u := range []struct {
		length time.Duration
		unit   ratelimitv3.RateLimitResponse_RateLimit_Unit
	}{
		{24 * time.Hour, ratelimitv3.RateLimitResponse_RateLimit_DAY},
		{time.Hour, ratelimitv3.RateLimitResponse_RateLimit_HOUR},
		{time.Minute, ratelimitv3.RateLimitResponse_RateLimit_MINUTE},
		{time.Second, ratelimitv3.RateLimitResponse_RateLimit_SECOND},
	} {
		switch {
		case per == u.length:
			return u.unit, nil
		case per > 0 && per%u.length == 0:
			return u.unit, wrapperspb.UInt32(uint32(per / u.length))
		}
	}
	return ratelimitv3.RateLimitResponse_RateLimit_UNKNOWN, nil
}
