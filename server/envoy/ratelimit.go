package envoy

import (
	"context"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

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
	resp := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	for range req.GetDescriptors() {
		resp.Statuses = append(resp.Statuses, &ratelimitv3.RateLimitResponse_DescriptorStatus{Code: ratelimitv3.RateLimitResponse_OK})
	}
	if len(checks) == 0 {
		return resp, nil
	}
	answer, err := s.limiter.CheckBatch(ctx, &sluicev1.CheckBatchRequest{Checks: checks})
	if err != nil {
		return nil, err
	}
	var tightest *sluicev1.Decision
	for i, result := range answer.GetResults() {
		if e := result.GetError(); e != nil {
			return nil, status.FromProto(e).Err()
		}
		d := result.GetDecision()
		resp.Statuses[places[i]] = statusOf(d)
		if tighter(d, tightest) {
			tightest = d
		}
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

// statusOf returns the status of a descriptor.
func statusOf(d *sluicev1.Decision) *ratelimitv3.RateLimitResponse_DescriptorStatus {
	s := &ratelimitv3.RateLimitResponse_DescriptorStatus{
		Code: ratelimitv3.RateLimitResponse_OK, LimitRemaining: d.GetRemaining(),
		DurationUntilReset: durationpb.New(millis(d.GetResetAfterMs())),
	}
	if !d.GetAllowed() {
		s.Code = ratelimitv3.RateLimitResponse_OVER_LIMIT
	}
	if d.GetLimit() > 0 {
		s.CurrentLimit = &ratelimitv3.RateLimitResponse_RateLimit{RequestsPerUnit: d.GetLimit(), Unit: unitOf(d)}
	}
	return s
}

// unitOf returns the unit of the window that binds, UNKNOWN if it has another length.
func unitOf(d *sluicev1.Decision) ratelimitv3.RateLimitResponse_RateLimit_Unit {
	for _, w := range d.GetWindows() {
		if w.GetLimit() != d.GetLimit() || w.GetRemaining() != d.GetRemaining() && d.GetAllowed() {
			continue
		}
		switch millis(w.GetPerMs()) {
		case time.Second:
			return ratelimitv3.RateLimitResponse_RateLimit_SECOND
		case time.Minute:
			return ratelimitv3.RateLimitResponse_RateLimit_MINUTE
		case time.Hour:
			return ratelimitv3.RateLimitResponse_RateLimit_HOUR
		case 24 * time.Hour:
			return ratelimitv3.RateLimitResponse_RateLimit_DAY
		}
	}
	return ratelimitv3.RateLimitResponse_RateLimit_UNKNOWN
}
