package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	suspended = "sk_live_suspended"
	limited   = `{"success":false,"error":"rate_limit_exceeded","message":"Too many requests. Please wait a moment and try again."}` + "\n"
	noSuchKey = `{"success":false,"error":"invalid_api_key","message":"The API key is missing, malformed or no longer valid."}` + "\n"
)

// rig is a node whose clock stands still unless told.
type rig struct {
	conn   *grpc.ClientConn
	limits ratelimitv3.RateLimitServiceClient
	authz  authv3.AuthorizationClient

	mu   sync.Mutex
	past time.Duration
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past += d
}

func start(t testing.TB, change func(*server.Config)) *rig {
	t.Helper()
	p, err := policy.Parse(fmt.Appendf(nil, `
tiers:
  free: {windows: [{limit: 2, per: 1m}], concurrent: 1}
  pro:  {windows: [{limit: 60, per: 1m}, {limit: 10, per: 1s}], concurrent: 2}
default_tier: free
keys:
  - {sha256: "%s", status: suspended}
`, policy.HashKey(suspended)))
	if err != nil {
		t.Fatal(err)
	}
	r := new(rig)
	c := server.Config{
		GRPC: "127.0.0.1:0", EnvoyRateLimit: true, EnvoyAuthz: true, Policy: p, MaxKeys: 1000, Log: slog.New(slog.DiscardHandler),
		Clock: func() (limiter.Instant, time.Time) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return limiter.Instant(100 * 24 * time.Hour).Add(r.past), time.Unix(1_800_000_000, 0).Add(r.past)
		},
	}
	if change != nil {
		change(&c)
	}
	node, err := server.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(node.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.conn = conn
	r.limits, r.authz = ratelimitv3.NewRateLimitServiceClient(conn), authv3.NewAuthorizationClient(conn)
	t.Cleanup(func() {
		conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := node.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// descriptor has entries, which are keys and values in turn.
func descriptor(entries ...string) *commonv3.RateLimitDescriptor {
	d := new(commonv3.RateLimitDescriptor)
	for i := 0; i < len(entries); i += 2 {
		d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: entries[i], Value: entries[i+1]})
	}
	return d
}

func (r *rig) limit(t *testing.T, hits uint32, descriptors ...*commonv3.RateLimitDescriptor) *ratelimitv3.RateLimitResponse {
	t.Helper()
	resp, err := r.limits.ShouldRateLimit(t.Context(), &ratelimitv3.RateLimitRequest{Domain: "api", Descriptors: descriptors, HitsAddend: hits})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetStatuses()) != len(descriptors) {
		t.Fatalf("%d statuses for %d descriptors", len(resp.GetStatuses()), len(descriptors))
	}
	return resp
}

// brief is a response on few lines.
func brief(resp *ratelimitv3.RateLimitResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", resp.GetOverallCode())
	for _, s := range resp.GetStatuses() {
		fmt.Fprintf(&b, "; %v %d/%d a %v, %v", s.GetCode(), s.GetLimitRemaining(), s.GetCurrentLimit().GetRequestsPerUnit(),
			s.GetCurrentLimit().GetUnit(), s.GetDurationUntilReset().AsDuration())
	}
	for _, h := range resp.GetResponseHeadersToAdd() {
		fmt.Fprintf(&b, "\n%s: %s", strings.ToLower(h.GetKey()), h.GetValue())
	}
	return b.String() + "\n" + string(resp.GetRawBody())
}

func wants(t *testing.T, resp *ratelimitv3.RateLimitResponse, want string) {
	t.Helper()
	if got := brief(resp); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRateLimit(t *testing.T) {
	r := start(t, nil)
	a := descriptor("api_key", "a", "path", "/x")
	wants(t, r.limit(t, 0, a), "OK; OK 1/2 a MINUTE, 1m0s\nx-ratelimit-limit: 2\nx-ratelimit-remaining: 1\nx-ratelimit-reset: 1800000060\n")
	r.wait(10 * time.Second)
	wants(t, r.limit(t, 1, a), "OK; OK 0/2 a MINUTE, 50s\nx-ratelimit-limit: 2\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1800000060\n")
	wants(t, r.limit(t, 0, a), "OVER_LIMIT; OVER_LIMIT 0/2 a MINUTE, 50s\ncache-control: no-store\ncontent-type: application/json\n"+
		"retry-after: 50\nx-ratelimit-limit: 2\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1800000060\n"+limited)
	r.wait(50 * time.Second)
	if got := r.limit(t, 0, a); got.GetOverallCode() != ratelimitv3.RateLimitResponse_OK {
		t.Errorf("after the wait: %s", brief(got))
	}
}

func TestHitsAddend(t *testing.T) {
	r := start(t, nil)
	pro := descriptor("api_key", "a", "tier", "pro")
	remaining := func(hits uint32, of *wrapperspb.UInt64Value) uint32 {
		pro.HitsAddend = of
		return r.limit(t, hits, pro).GetStatuses()[0].GetLimitRemaining()
	}
	for i, c := range []struct {
		hits uint32
		of   *wrapperspb.UInt64Value
		want uint32
	}{
		{0, nil, 9}, // 0 of the request is 1
		{3, nil, 6},
		{3, wrapperspb.UInt64(2), 4}, // the descriptor's counts
		{3, wrapperspb.UInt64(0), 4}, // whose 0 is a peek
	} {
		if got := remaining(c.hits, c.of); got != c.want {
			t.Errorf("%d: %d remain, want %d", i, got, c.want)
		}
	}
	if unit := r.limit(t, 1, pro).GetStatuses()[0].GetCurrentLimit().GetUnit(); unit != ratelimitv3.RateLimitResponse_RateLimit_SECOND {
		t.Errorf("the window that binds is a %v", unit)
	}
}

func TestDescriptorsAreDecidedByThemselves(t *testing.T) {
	r := start(t, nil)
	a, b, none := descriptor("api_key", "a"), descriptor("api_key", "b"), descriptor("generic_key", "rule")
	r.limit(t, 2, a)
	resp := r.limit(t, 0, none, a, b)
	var got []string
	for _, s := range resp.GetStatuses() {
		got = append(got, fmt.Sprint(s.GetCode(), " ", s.GetLimitRemaining(), " ", s.GetCurrentLimit() != nil))
	}
	if want := "[OK 0 false OVER_LIMIT 0 true OK 1 true]"; fmt.Sprint(got) != want || resp.GetOverallCode() != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("got %v %v, want %s", resp.GetOverallCode(), got, want)
	}
	if left := r.limit(t, 0, b).GetStatuses()[0].GetLimitRemaining(); left != 0 {
		t.Errorf("b has %d left: what it was allowed beside a denial counts", left)
	}
	wants(t, r.limit(t, 0, none), "OK; OK 0/0 a UNKNOWN, 0s\n")
}

func TestRateLimitRefusesWhatItCannotMean(t *testing.T) {
	r := start(t, nil)
	negative, limit, large := descriptor("api_key", "a"), descriptor("api_key", "a"), descriptor("api_key", "a")
	negative.IsNegativeHits = true
	limit.Limit = &commonv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 5}
	large.HitsAddend = wrapperspb.UInt64(1 << 40)
	for want, req := range map[string]*ratelimitv3.RateLimitRequest{
		"domain":                          {Descriptors: []*commonv3.RateLimitDescriptor{descriptor("api_key", "a")}},
		"descriptors":                     {Domain: "api"},
		"descriptors[0].is_negative_hits": {Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{negative}},
		"descriptors[0].limit":            {Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{limit}},
		"descriptors[0].hits_addend":      {Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{large}},
		"descriptors[0].entries[1]":       {Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{descriptor("api_key", "a", "api_key", "b")}},
		"descriptors[1].tier":             {Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{descriptor("path", "/"), descriptor("api_key", "a", "tier", "gold")}},
	} {
		_, err := r.limits.ShouldRateLimit(t.Context(), req)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A client chooses its key: were a bad one an error, Envoy would let its request pass.
func TestBadKeysAreDenied(t *testing.T) {
	r := start(t, nil)
	const want = "OVER_LIMIT; OVER_LIMIT 0/0 a UNKNOWN, 0s\ncache-control: no-store\ncontent-type: application/json\n" + noSuchKey
	for _, key := range []string{"", strings.Repeat("k", 257), "caf\x1a"} {
		wants(t, r.limit(t, 0, descriptor("api_key", key)), want)
	}
	wants(t, r.limitRaw(t, unreadable(t, descriptor("api_key", "caf\x7f"))), want)

	resp := r.limit(t, 0, descriptor("api_key", "a"), descriptor("api_key", ""))
	if got := resp.GetStatuses()[0]; got.GetCode() != ratelimitv3.RateLimitResponse_OK || got.GetLimitRemaining() != 1 {
		t.Errorf("beside a bad key: %v", got)
	}
	if string(resp.GetRawBody()) != noSuchKey || resp.GetOverallCode() != ratelimitv3.RateLimitResponse_OVER_LIMIT {
		t.Errorf("with a bad key: %v", resp)
	}
}

// unreadable is a request whose texts have 0xff, as UTF-8 never has, for each 0x7f.
func unreadable(t *testing.T, descriptors ...*commonv3.RateLimitDescriptor) []byte {
	t.Helper()
	b, err := proto.Marshal(&ratelimitv3.RateLimitRequest{Domain: "api", Descriptors: descriptors})
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte{0x7f}, []byte{0xff})
}

func (r *rig) limitRaw(t *testing.T, request []byte) *ratelimitv3.RateLimitResponse {
	t.Helper()
	resp := new(ratelimitv3.RateLimitResponse)
	if err := r.raw(t, ratelimitv3.RateLimitService_ShouldRateLimit_FullMethodName, request, resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

// raw calls a method with a request of any bytes.
func (r *rig) raw(t *testing.T, method string, request []byte, resp proto.Message) error {
	t.Helper()
	var answer mem.BufferSlice
	if err := r.conn.Invoke(t.Context(), method, request, &answer, grpc.ForceCodecV2(rawCodec{})); err != nil {
		return err
	}
	if err := proto.Unmarshal(answer.Materialize(), resp); err != nil {
		t.Fatal(err)
	}
	return nil
}

// rawCodec sends and returns bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

// What is wrong with one descriptor is told with its place; the others have been decided.
func TestAFailedDescriptorKeepsNoOtherFromCounting(t *testing.T) {
	r := start(t, nil)
	a := descriptor("api_key", "a")
	_, err := r.limits.ShouldRateLimit(t.Context(), &ratelimitv3.RateLimitRequest{
		Domain: "api", Descriptors: []*commonv3.RateLimitDescriptor{a, descriptor("api_key", "b", "tier", "gold")},
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
	if got := r.limit(t, 0, a).GetStatuses()[0].GetLimitRemaining(); got != 0 {
		t.Errorf("%d remain, want 0", got)
	}
}

func TestWindowsOfOtherLengths(t *testing.T) {
	for per, want := range map[string]string{
		"1s": "SECOND <nil>", "10s": "SECOND value:10", "90s": "SECOND value:90", "1m": "MINUTE <nil>", "5m": "MINUTE value:5", "1500ms": "UNKNOWN <nil>",
	} {
		r := start(t, func(c *server.Config) {
			p, err := policy.Parse([]byte("tiers:\n  free: {windows: [{limit: 2, per: " + per + "}], concurrent: 1}\ndefault_tier: free\n"))
			if err != nil {
				t.Fatal(per, err)
			}
			c.Policy = p
		})
		l := r.limit(t, 0, descriptor("api_key", "a")).GetStatuses()[0].GetCurrentLimit()
		if got := fmt.Sprint(l.GetUnit(), " ", l.GetUnitMultiplier()); got != want {
			t.Errorf("%s: %s, want %s", per, got, want)
		}
	}
}

// authorize asks for a request with headers, which are names and values in turn.
func (r *rig) authorize(t *testing.T, extensions map[string]string, headers ...string) *authv3.CheckResponse {
	t.Helper()
	in := make(map[string]string)
	for i := 0; i < len(headers); i += 2 {
		in[headers[i]] = headers[i+1]
	}
	resp, err := r.authz.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: extensions,
		Request:           &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Headers: in}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// told is the headers of an answer on one line.
func told(all []*corev3.HeaderValueOption) string {
	var list []string
	for _, h := range all {
		if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			list = append(list, "appended")
		}
		list = append(list, strings.ToLower(h.GetHeader().GetKey())+"="+h.GetHeader().GetValue())
	}
	return strings.Join(list, " ")
}

func TestAuthz(t *testing.T) {
	r := start(t, nil)
	ok := r.authorize(t, nil, "authorization", "Bearer a", "x-sluice-tier", "pro", "tier", "pro", "x-request-id", "req-7")
	if got, want := told(ok.GetOkResponse().GetResponseHeadersToAdd()), "x-ratelimit-limit=2 x-ratelimit-remaining=1 x-ratelimit-reset=1800000060 x-request-id=req-7"; got != want || ok.GetStatus().GetCode() != 0 {
		t.Errorf("allowed: %v %q, want %q", ok.GetStatus(), got, want)
	}
	r.authorize(t, nil, "x-api-key", "a")
	no := r.authorize(t, nil, "x-api-key", "a", "x-request-id", "req-8").GetDeniedResponse()
	if no.GetStatus().GetCode() != 429 || no.GetBody() != limited ||
		told(no.GetHeaders()) != "cache-control=no-store content-type=application/json retry-after=60 x-ratelimit-limit=2 x-ratelimit-remaining=0 x-ratelimit-reset=1800000060 x-request-id=req-8" {
		t.Errorf("denied: %v", no)
	}
	for name, c := range map[string]struct {
		headers []string
		status  int32
		body    string
	}{
		"no key":        {nil, 401, noSuchKey},
		"another way":   {[]string{"authorization", "Basic eDp5"}, 401, noSuchKey},
		"two keys":      {[]string{"authorization", "Bearer a", "x-api-key", "b"}, 401, noSuchKey},
		"two headers":   {[]string{"x-api-key", "a,b"}, 401, noSuchKey},
		"no UTF-8":      {[]string{"x-api-key", "caf\x1a"}, 401, noSuchKey},
		"too long":      {[]string{"x-api-key", strings.Repeat("k", 257)}, 401, noSuchKey},
		"suspended key": {[]string{"x-api-key", suspended}, 403, `{"success":false,"error":"forbidden","message":"The organization of this API key is suspended."}` + "\n"},
	} {
		resp := r.authorize(t, nil, c.headers...)
		if d := resp.GetDeniedResponse(); int32(d.GetStatus().GetCode()) != c.status || d.GetBody() != c.body || resp.GetStatus().GetCode() == 0 || !strings.Contains(told(d.GetHeaders()), "x-request-id=") {
			t.Errorf("%s: %v", name, resp)
		}
	}
}

func TestAuthzTakesTierAndCostFromEnvoyOnly(t *testing.T) {
	r := start(t, nil)
	got := r.authorize(t, map[string]string{"tier": "pro", "cost": "4"}, "authorization", "bearer a")
	if h := told(got.GetOkResponse().GetResponseHeadersToAdd()); !strings.Contains(h, "x-ratelimit-limit=10 x-ratelimit-remaining=6") {
		t.Errorf("got %q", h)
	}
	_, err := r.authz.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{ContextExtensions: map[string]string{"cost": "many"}}})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "cost") {
		t.Errorf("a cost that is none: %v", err)
	}
}

func TestAuthzReadsRawHeaders(t *testing.T) {
	r := start(t, nil)
	resp, err := r.authz.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{
			Headers: []*corev3.HeaderValue{{Key: "X-Api-Key", RawValue: []byte("a")}},
		}}},
	}})
	if err != nil || resp.GetOkResponse() == nil {
		t.Errorf("got %v, %v", resp, err)
	}
	resp, err = r.authz.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{
			Headers: []*corev3.HeaderValue{{Key: "X-Api-Key", RawValue: []byte("caf\xe9")}},
		}}},
	}})
	if err != nil || resp.GetDeniedResponse().GetStatus().GetCode() != 401 {
		t.Errorf("a key that is not UTF-8: %v, %v", resp, err)
	}
}

func TestEachServiceCanBeSwitchedOff(t *testing.T) {
	r := start(t, func(c *server.Config) { c.EnvoyRateLimit = false })
	if _, err := r.limits.ShouldRateLimit(t.Context(), &ratelimitv3.RateLimitRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("rate limits: %v", err)
	}
	r.authorize(t, nil, "x-api-key", "a")
	r = start(t, func(c *server.Config) { c.EnvoyAuthz = false })
	if _, err := r.authz.Check(t.Context(), &authv3.CheckRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("authorization: %v", err)
	}
	r.limit(t, 0, descriptor("api_key", "a"))
}
