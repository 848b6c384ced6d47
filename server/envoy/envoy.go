package envoy

import (
	"context"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Limiter decides: a part of the API's service.
type Limiter interface {
	Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error)
	CheckBatch(context.Context, *sluicev1.CheckBatchRequest) (*sluicev1.CheckBatchResponse, error)
}

// Config says what is served. Limiter is required.
type Config struct {
	Limiter   Limiter
	RateLimit bool             // serve envoy.service.ratelimit.v3
	Authz     bool             // serve envoy.service.auth.v3
	Now       func() time.Time // the wall clock; nil: time.Now
}

// Register adds the services to a server that does not serve yet.
func Register(to grpc.ServiceRegistrar, c Config) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.RateLimit {
		ratelimitv3.RegisterRateLimitServiceServer(to, &rateLimit{limiter: c.Limiter, now: c.Now})
	}
	if c.Authz {
		authv3.RegisterAuthorizationServer(to, &authz{limiter: c.Limiter, now: c.Now})
	}
}

// unknownKey is the decision on a key that can be none. It is a denial and no error, as a client
// chooses its key, and Envoy may let pass what ends in an error.
var unknownKey = &sluicev1.Decision{Reason: sluicev1.Reason_REASON_KEY_UNKNOWN}

// headersOf returns the contract's headers of a decision.
func headersOf(d *sluicev1.Decision, now time.Time) http.Header {
	h := make(http.Header)
	if d.GetLimit() > 0 {
		contract.RateLimit{
			Limit: d.GetLimit(), Remaining: d.GetRemaining(), Reset: millis(d.GetResetAfterMs()), RetryAfter: millis(d.GetRetryAfterMs()),
		}.Set(h, now)
	}
	return h
}

// denial returns what the client of a denied request is told. It adds to the headers.
func denial(d *sluicev1.Decision, h http.Header) contract.Error {
	e := contract.Denial(d.GetReason().String())
	if e.Code == contract.ServiceUnavailable {
		contract.SetRetryAfter(h, contract.UnavailableRetryAfter(mathrand.Float64()))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	return e
}

// options returns headers in Envoy's form, in the order of their names. Each takes the place of
// one that is there.
func options(h http.Header) (all []*corev3.HeaderValueOption) {
	for name, values := range h {
		all = append(all, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: name, Value: values[0]},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	slices.SortFunc(all, func(a, b *corev3.HeaderValueOption) int {
		return strings.Compare(a.GetHeader().GetKey(), b.GetHeader().GetKey())
	})
	return all
}

// invalid is the error for a request that says what cannot be meant. field is its dotted path.
func invalid(field, what string) error {
	st, err := status.New(codes.InvalidArgument, field+": "+what).WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_REQUEST", Domain: "sluice"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: what}}})
	if err != nil { // never: both are messages
		return err
	}
	return st.Err()
}

func millis(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
