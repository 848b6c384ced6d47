package envoy_test

import (
	"bytes"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
)

// seed returns a request's bytes.
func seed(f *testing.F, m proto.Message) []byte {
	f.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// understood tells whether a call of arbitrary bytes was answered. Otherwise they are no request, or
// one that says what cannot be meant; nothing ends in a fault of the node.
func understood(t *testing.T, err error) bool {
	t.Helper()
	switch {
	case err == nil:
		return true
	case status.Code(err) == codes.InvalidArgument:
	case status.Code(err) == codes.Internal && strings.Contains(err.Error(), "unmarshal"):
	default:
		t.Fatal(err)
	}
	return false
}

// Whatever arrives, a request that is not allowed has a body by the contract, and one with a bad key
// is not allowed.
func FuzzRateLimit(f *testing.F) {
	for _, entries := range [][]string{
		{"api_key", "a", "path", "/"},
		{"api_key", ""},
		{"api_key", "a", "tier", "gold"},
		{"api_key", strings.Repeat("k", 257)},
	} {
		b := seed(f, &ratelimitv3.RateLimitRequest{Domain: "api", HitsAddend: 2, Descriptors: []*commonv3.RateLimitDescriptor{descriptor(entries...)}})
		f.Add(b)
		f.Add(bytes.ReplaceAll(b, []byte{'a'}, []byte{0xff}))
	}
	r := start(f, nil)
	f.Fuzz(func(t *testing.T, request []byte) {
		resp := new(ratelimitv3.RateLimitResponse)
		if !understood(t, r.raw(t, ratelimitv3.RateLimitService_ShouldRateLimit_FullMethodName, request, resp)) {
			return
		}
		over := false
		for _, s := range resp.GetStatuses() {
			over = over || s.GetCode() == ratelimitv3.RateLimitResponse_OVER_LIMIT
		}
		if _, ok := contract.ParseBody(resp.GetRawBody()); ok != over || over != (resp.GetOverallCode() == ratelimitv3.RateLimitResponse_OVER_LIMIT) {
			t.Errorf("%v", resp)
		}
		in := new(ratelimitv3.RateLimitRequest)
		if proto.Unmarshal(request, in) != nil {
			return // some of its text is not UTF-8
		}
		for i, d := range in.GetDescriptors() {
			for _, e := range d.GetEntries() {
				bad := e.GetKey() == "api_key" && !contract.ValidAPIKey(e.GetValue())
				if bad && resp.GetStatuses()[i].GetCode() != ratelimitv3.RateLimitResponse_OVER_LIMIT {
					t.Errorf("descriptor %d has a bad key: %v", i, resp)
				}
			}
		}
	})
}

// Whatever arrives is allowed, or denied with a status and a body by the contract.
func FuzzAuthz(f *testing.F) {
	for _, value := range []string{"Bearer a", "Bearer ", "Basic eDp5", "caf\xe9"} {
		f.Add(seed(f, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			ContextExtensions: map[string]string{"tier": "pro", "cost": "2"},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{
				Headers: []*corev3.HeaderValue{{Key: "Authorization", RawValue: []byte(value)}, {Key: "x-api-key", RawValue: []byte("b")}},
			}}},
		}}))
	}
	r := start(f, nil)
	f.Fuzz(func(t *testing.T, request []byte) {
		resp := new(authv3.CheckResponse)
		if !understood(t, r.raw(t, authv3.Authorization_Check_FullMethodName, request, resp)) {
			return
		}
		no := resp.GetDeniedResponse()
		if (no == nil) != (resp.GetStatus().GetCode() == 0) || (no == nil) != (resp.GetOkResponse() != nil) {
			t.Fatalf("%v", resp)
		}
		if no == nil {
			return
		}
		body, ok := contract.ParseBody([]byte(no.GetBody()))
		if want, _ := contract.Lookup(body.Error); !ok || int(no.GetStatus().GetCode()) != want.Status {
			t.Errorf("%v", resp)
		}
	})
}
