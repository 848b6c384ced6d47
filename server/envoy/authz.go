package envoy

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The context extensions that mean something.
const (
	tierExtension = "tier"
	costExtension = "cost"
)

type authz struct {
	authv3.UnimplementedAuthorizationServer
	limiter Limiter
	now     func() time.Time
}

// Check decides the request that the attributes describe.
func (s *authz) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	of := req.GetAttributes()
	ask := &sluicev1.CheckRequest{Tier: of.GetContextExtensions()[tierExtension]}
	if cost, ok := of.GetContextExtensions()[costExtension]; ok {
		n, err := strconv.ParseUint(cost, 10, 32)
		if err != nil {
			return nil, invalid("attributes.context_extensions.cost", "must be a whole number")
		}
		units := uint32(n)
		ask.Cost = &units
	}
	headers := headersIn(of.GetRequest().GetHttp())
	ask.Key = contract.APIKey(joined(headers, "authorization"), joined(headers, "x-api-key"))
	id := headers["x-request-id"]
	if !contract.ValidRequestID(id) || contract.TellsKey(id, ask.Key) {
		id = rand.Text()
	}
	d := unknownKey
	if ask.Key != "" {
		answer, err := s.limiter.Check(passOn(ctx, headers, id), ask)
		if err != nil {
			return nil, err
		}
		d = answer.GetDecision()
	}
	h := headersOf(d, s.now())
	h.Set(contract.HeaderRequestID, id)
	if !d.GetAllowed() {
		return denied(denial(d, h), h), nil
	}
	return &authv3.CheckResponse{
		Status:       &spb.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{ResponseHeadersToAdd: options(h)}},
	}, nil
}

// passOn returns a context in which the limiter gets the id of the checked request, and the trace
// that it belongs to, in place of those of Envoy's own call.
func passOn(ctx context.Context, headers map[string]string, id string) context.Context {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	if md == nil {
		md = make(metadata.MD)
	}
	md.Set("x-request-id", id)
	if parent := headers["traceparent"]; parent != "" {
		md.Set("traceparent", parent)
		md.Delete("tracestate")
		if state := headers["tracestate"]; state != "" {
			md.Set("tracestate", state)
		}
	}
	return metadata.NewIncomingContext(ctx, md)
}

// denied is the answer for a request that does not pass.
func denied(e contract.Error, h http.Header) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &spb.Status{Code: int32(codeOf(e.Code))},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(e.Status())}, Headers: options(h), Body: string(e.Body().Encode()),
		}},
	}
}

// codeOf returns what a denial is in gRPC. Envoy looks only whether it is OK.
func codeOf(c contract.Code) codes.Code {
	switch c {
	case contract.InvalidAPIKey:
		return codes.Unauthenticated
	case contract.RateLimitExceeded:
		return codes.ResourceExhausted
	case contract.ServiceUnavailable:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}

// joined returns the headers of a name as one, by which a key that comes twice is none. _ is as good as
// - in a name: behind CGI and its like both are one, and the API might take the one that was not counted.
func joined(headers map[string]string, name string) string {
	var all []string
	for n, value := range headers {
		if strings.EqualFold(strings.ReplaceAll(n, "_", "-"), name) {
			all = append(all, value)
		}
	}
	return strings.Join(all, ",")
}

// headersIn returns a request's headers by their names in lower case, in whichever of its two forms
// Envoy sends them.
func headersIn(r *authv3.AttributeContext_HttpRequest) map[string]string {
	if r.GetHeaderMap() == nil {
		return r.GetHeaders()
	}
	headers := make(map[string]string)
	for _, h := range r.GetHeaderMap().GetHeaders() {
		value := h.GetValue()
		if value == "" {
			value = string(h.GetRawValue())
		}
		name := strings.ToLower(h.GetKey())
		if before, ok := headers[name]; ok {
			value = before + "," + value // as Envoy joins them in its other form
		}
		headers[name] = value
	}
	return headers
}
