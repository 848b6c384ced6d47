package gateway_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/limiter/policy"
)

func TestElevenRequests(t *testing.T) {
	r := newRig(t, setup{})
	for want := int64(9); want >= 0; want-- {
		res := r.request(t, "GET", "/verify", free, nil)
		res.wantHeaders(t)
		if res.status != 200 || string(res.body) != "fine" {
			t.Fatalf("status %d, body %q", res.status, res.body)
		}
		if got := res.number(t, contract.HeaderRemaining); got != want {
			t.Errorf("remaining is %d, want %d", got, want)
		}
		if got := res.number(t, contract.HeaderLimit); got != 10 {
			t.Errorf("limit is %d, want 10", got)
		}
		if res.header.Get(contract.HeaderRetryAfter) != "" {
			t.Error("Retry-After on a request that passed")
		}
	}

	res := r.request(t, "GET", "/verify", free, nil)
	now := time.Now().Unix()
	res.wantError(t, contract.RateLimitExceeded)
	const body = `{"success":false,"error":"rate_limit_exceeded","message":"Too many requests. Please wait a moment and try again."}` + "\n"
	if string(res.body) != body {
		t.Errorf("body is %q, want %q", res.body, body)
	}
	if got := res.number(t, contract.HeaderRemaining); got != 0 {
		t.Errorf("remaining is %d, want 0", got)
	}
	wait := res.number(t, contract.HeaderRetryAfter)
	if wait < 1 || wait > 60 {
		t.Errorf("Retry-After is %d, want 1 to 60", wait)
	}
	if off := res.number(t, contract.HeaderReset) - (now + wait); off < -1 || off > 1 {
		t.Errorf("reset is %d s off now + Retry-After", off)
	}
}

// What cannot pass is refused with its code, has the headers, and takes one unit
// if the limiter did not deny it.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name, method, path, key string
		body                    int
		headers                 []header
		want                    contract.Code
		takes                   uint32
	}{
		{"no key", "GET", "/", "", 0, nil, contract.InvalidAPIKey, 0},
		{"key of another form", "GET", "/", "sk_test_1", 0, nil, contract.InvalidAPIKey, 0},
		{"two keys", "GET", "/", free, 0, []header{{"Authorization", "Bearer " + pro}}, contract.InvalidAPIKey, 0},
		{"revoked key", "GET", "/", revoked, 0, nil, contract.InvalidAPIKey, 0},
		{"suspended key", "GET", "/", suspended, 0, nil, contract.Forbidden, 0},
		{"revoked key, run", "POST", "/run", revoked, 0, nil, contract.InvalidAPIKey, 0},
		{"tier", "POST", "/templates", free, 0, nil, contract.Forbidden, 1},
		{"tier, slash at the end", "POST", "/templates/", free, 0, nil, contract.Forbidden, 1},
		{"tier, doubled slash", "POST", "//templates", free, 0, nil, contract.Forbidden, 1},
		{"tier, escaped letter", "POST", "/%74emplates", free, 0, nil, contract.Forbidden, 1},
		{"dot segment", "POST", "/public/../templates", free, 0, nil, contract.InvalidRequest, 1},
		{"escaped dot segment", "POST", "/x/%2e%2E/templates", free, 0, nil, contract.InvalidRequest, 1},
		{"escaped slash", "POST", "/x%2f..%2Frun", free, 0, nil, contract.InvalidRequest, 1},
		{"backslash", "GET", "/x%5Crun", free, 0, nil, contract.InvalidRequest, 1},
		{"path parameter", "POST", "/templates;x=1", free, 0, nil, contract.InvalidRequest, 1},
		{"dots with a parameter", "POST", "/x/..;/templates", free, 0, nil, contract.InvalidRequest, 1},
		{"method in small letters", "post", "/templates", free, 0, nil, contract.InvalidRequest, 1},
		{"method of a run in small letters", "Post", "/run", free, 0, nil, contract.InvalidRequest, 1},
		{"upgrade to nothing", "GET", "/", free, 0, []header{{"Connection", "Upgrade"}, {"Upgrade", "\xff\xfe"}}, contract.InvalidRequest, 1},
		{"public, but a parameter", "GET", "/public;x", "", 0, nil, contract.InvalidAPIKey, 0},
		{"public, but dots", "GET", "/x/../public", "", 0, nil, contract.InvalidAPIKey, 0},
		{"upload", "POST", "/files", free, 1025, nil, contract.PayloadTooLarge, 1},
		{"upload of a run", "POST", "/run", free, 1025, nil, contract.PayloadTooLarge, 1},
		{"upload without key", "POST", "/public", "", 1025, nil, contract.PayloadTooLarge, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, setup{upstream: func(http.ResponseWriter, *http.Request) {
				t.Error("the upstream was asked")
			}})
			res := r.request(t, test.method, test.path, test.key, strings.NewReader(strings.Repeat("x", test.body)), test.headers...)
			res.wantError(t, test.want)
			if test.key == free {
				if got := 10 - r.left(t, free); got != test.takes {
					t.Errorf("it took %d units, want %d", got, test.takes)
				}
			}
			if n := r.inUse(t, pro); n != 0 {
				t.Errorf("%d runs in use", n)
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	p := testPolicy(t, "require_known_keys: true\n")
	r := newRig(t, setup{config: func(c *gateway.Config) { c.Policy = p }})
	res := r.request(t, "GET", "/", unlisted, nil)
	res.wantError(t, contract.InvalidAPIKey)
	if got := res.number(t, contract.HeaderRemaining); got != 0 {
		t.Errorf("remaining is %d, want 0", got)
	}
}

// A refusal for what the request asks is a 429 once the key has nothing left.
func TestDenialComesBeforeStaticRefusal(t *testing.T) {
	r := newRig(t, setup{})
	for range 10 {
		r.request(t, "POST", "/templates", free, nil).wantError(t, contract.Forbidden)
	}
	r.request(t, "POST", "/templates", free, nil).wantError(t, contract.RateLimitExceeded)
}

// A key that the gateway's policy revokes does not pass even if the node lets it.
func TestStricterPolicyCounts(t *testing.T) {
	r := newRig(t, setup{node: policy.Default(), upstream: func(http.ResponseWriter, *http.Request) {
		t.Error("the upstream was asked")
	}})
	r.request(t, "GET", "/", revoked, nil).wantError(t, contract.InvalidAPIKey)
	r.request(t, "POST", "/run", suspended, nil).wantError(t, contract.Forbidden)
	if n := r.inUse(t, suspended); n != 0 {
		t.Errorf("%d runs in use", n)
	}
}

func TestDirectoryOfTheGatewayNamesTheTier(t *testing.T) {
	r := newRig(t, setup{node: policy.Default()})
	if got := r.request(t, "GET", "/", pro, nil).number(t, contract.HeaderLimit); got != 60 {
		t.Errorf("limit is %d, want 60", got)
	}
}

func TestWarnsOfAnotherPolicy(t *testing.T) {
	r := newRig(t, setup{config: func(c *gateway.Config) {
		c.Policy, c.Anonymous.Tier, c.Routes = policy.Default(), "pro", nil
	}, node: testPolicy(t, "")})
	for range 3 {
		r.request(t, "GET", "/", enterprise, nil)
	}
	if n := r.logs.count("the limiter decides by another policy"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}

// A node that lost a key's history with --when-lost half decides by half its limit.
func TestHalvedLimitIsNoOtherPolicy(t *testing.T) {
	r := newRig(t, setup{limiter: func(c *client.Client) gateway.Limiter { return halvingLimiter{c} }})
	if got := r.request(t, "GET", "/", free, nil).number(t, contract.HeaderLimit); got != 5 {
		t.Fatalf("limit is %d, want 5", got)
	}
	if n := r.logs.count("the limiter decides by another policy"); n != 0 {
		t.Errorf("warned %d times", n)
	}
}

// An address that the gateway's file blocks is refused though nobody decides.
func TestBlockedAddressInAnOutage(t *testing.T) {
	p := testPolicy(t, "  - {sha256: "+policy.HashKey("ip:127.0.0.1")+", status: suspended}\n")
	r := newRig(t, setup{config: func(c *gateway.Config) { c.Policy = p }, limiter: deadLimiter(t, client.FailOpen)})
	for _, path := range []string{"/public", "/"} {
		r.request(t, "GET", path, "", nil).wantError(t, contract.Forbidden)
	}
	if res := r.request(t, "GET", "/public", free, nil); res.status != 200 {
		t.Errorf("with a key: status %d", res.status)
	}
}

func TestAnonymous(t *testing.T) {
	r := newRig(t, setup{})
	for want := int64(4); want >= 1; want-- {
		res := r.request(t, "GET", "/", "", nil)
		res.wantError(t, contract.InvalidAPIKey)
		if got := res.number(t, contract.HeaderRemaining); got != want {
			t.Errorf("remaining is %d, want %d", got, want)
		}
	}
	if res := r.request(t, "GET", "/public", "", nil); res.status != 200 || res.number(t, contract.HeaderRemaining) != 0 {
		t.Errorf("public route: status %d", res.status)
	}
	r.request(t, "GET", "/", "", nil).wantError(t, contract.RateLimitExceeded)
	r.request(t, "GET", "/public", "", nil).wantError(t, contract.RateLimitExceeded)
	if res := r.request(t, "GET", "/public", free, nil); res.number(t, contract.HeaderLimit) != 10 {
		t.Error("with a key, the public route does not count for the key")
	}
}

// The built-in policy of a node has no tier for addresses: they get 60 a minute.
func TestAnonymousWithoutConfiguration(t *testing.T) {
	r := newRig(t, setup{config: func(c *gateway.Config) { *c = gateway.DefaultConfig() }})
	for range 60 {
		r.request(t, "GET", "/", "", nil).wantError(t, contract.InvalidAPIKey)
	}
	r.request(t, "GET", "/", "", nil).wantError(t, contract.RateLimitExceeded)
	if n := r.logs.count("the limiter's policy cannot count addresses"); n != 0 {
		t.Error("the node did not count the address")
	}
}

func TestNodeThatCannotCountAddresses(t *testing.T) {
	for name, node := range map[string]*policy.Policy{
		"all keys must be known": testPolicy(t, "require_known_keys: true\n"),
		"no such tier":           policy.Default(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{node: node})
			for want := int64(4); want >= 0; want-- {
				res := r.request(t, "GET", "/public", "", nil)
				res.wantHeaders(t)
				if got := res.number(t, contract.HeaderRemaining); res.status != 200 || got != want {
					t.Errorf("status %d, remaining %d; want 200, %d", res.status, got, want)
				}
			}
			res := r.request(t, "GET", "/", "", nil)
			res.wantError(t, contract.RateLimitExceeded)
			if wait := res.number(t, contract.HeaderRetryAfter); wait < 1 || wait > 60 {
				t.Errorf("Retry-After is %d", wait)
			}
			if n := r.logs.count("the limiter's policy cannot count addresses"); n != 1 {
				t.Errorf("warned %d times, want once", n)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		a, b    string // X-Forwarded-For of two clients
		same    bool
	}{
		{"one IPv6 network of 64 bits", trusted, "2001:db8::1", "2001:db8::ffff:2", true},
		{"two IPv6 networks of 64 bits", trusted, "2001:db8::1", "2001:db8:0:1::1", false},
		{"two IPv4 addresses", trusted, "203.0.113.7", "203.0.113.8", false},
		{"IPv4 in IPv6", trusted, "203.0.113.7", "::ffff:203.0.113.7", true},
		{"spoofed, peer not trusted", nil, "203.0.113.7", "203.0.113.8", true},
		{"spoofed, left of the client", trusted, "1.1.1.1, 203.0.113.7", "2.2.2.2, 203.0.113.7", true},
		{"spoofed, as a trusted proxy", trusted, "1.1.1.1, 10.0.0.1, 203.0.113.7", "203.0.113.7", true},
		{"behind two proxies", trusted, "203.0.113.7, 10.0.0.1", "203.0.113.8, 10.0.0.1", false},
		{"no address", trusted, "1.1.1.1, nonsense", "2.2.2.2, nonsense", true},
		{"ports", trusted, "203.0.113.7:1234", "203.0.113.7:99", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, setup{config: func(c *gateway.Config) { c.TrustedProxies = test.trusted }})
			for i, xff := range []string{test.a, test.b} {
				res := r.request(t, "GET", "/", "", nil, header{"X-Forwarded-For", xff})
				want := int64(4)
				if i == 1 && test.same {
					want = 3
				}
				if got := res.number(t, contract.HeaderRemaining); got != want {
					t.Errorf("%s: remaining is %d, want %d", xff, got, want)
				}
			}
		})
	}
}

// deadLimiter is a client of a port that nobody listens on.
func deadLimiter(t *testing.T, p client.Policy) func(*client.Client) gateway.Limiter {
	return func(*client.Client) gateway.Limiter {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c, err := client.New(l.Addr().String(), client.WithPolicy(p), client.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func TestLimiterOutOfReach(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		r := newRig(t, setup{limiter: deadLimiter(t, client.FailClosed)})
		for _, path := range []string{"/run", "/files", "/public"} {
			res := r.request(t, "POST", path, pro, nil)
			res.wantError(t, contract.ServiceUnavailable)
			if wait := res.number(t, contract.HeaderRetryAfter); wait < 30 || wait > 60 {
				t.Errorf("%s: Retry-After is %d, want 30 to 60", path, wait)
			}
			if got := res.number(t, contract.HeaderLimit); got != 60 {
				t.Errorf("%s: limit is %d, want the tier's", path, got)
			}
		}
	})
	t.Run("open", func(t *testing.T) {
		lease := make(chan string, 1)
		r := newRig(t, setup{
			limiter:  deadLimiter(t, client.FailOpen),
			upstream: func(_ http.ResponseWriter, r *http.Request) { lease <- r.Header.Get(gateway.LeaseHeader) },
		})
		res := r.request(t, "POST", "/run", pro, nil, header{gateway.LeaseHeader, "forged"})
		res.wantHeaders(t)
		if got := <-lease; res.status != 200 || got != "" {
			t.Errorf("status %d, lease %q", res.status, got)
		}
		r.request(t, "POST", "/templates", free, nil).wantError(t, contract.Forbidden)
		r.request(t, "GET", "/", revoked, nil).wantError(t, contract.InvalidAPIKey)
		r.request(t, "GET", "/", "", nil).wantError(t, contract.InvalidAPIKey)
	})
}

// Without a decision the headers are the key's last known.
func TestLastKnownHeaders(t *testing.T) {
	var failing failingLimiter
	r := newRig(t, setup{limiter: func(c *client.Client) gateway.Limiter {
		failing.Limiter = c
		return &failing
	}})
	r.request(t, "GET", "/", free, nil)
	failing.err = &client.Error{Code: contract.InternalError, Message: "for " + free}
	res := r.request(t, "GET", "/", free, nil)
	res.wantError(t, contract.InternalError)
	if got := res.number(t, contract.HeaderRemaining); got != 9 {
		t.Errorf("remaining is %d, want 9", got)
	}
	if r.logs.count("limiter refused the call") != 1 || strings.Contains(r.logs.String(), free) {
		t.Errorf("log is %s", r.logs)
	}
}

func TestRequestID(t *testing.T) {
	seen := make(chan string, 1)
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(contract.HeaderRequestID, "the-upstreams-own")
		seen <- r.Header.Get(contract.HeaderRequestID)
	}})
	for sent, kept := range map[string]bool{
		"abc-1.2_3": true, "": false, "no spaces": false, strings.Repeat("x", 129): false, free: false,
	} {
		res := r.request(t, "GET", "/", pro, nil, header{contract.HeaderRequestID, sent}, header{"Connection", "X-Request-Id"})
		res.wantHeaders(t)
		got := res.header.Get(contract.HeaderRequestID)
		if up := <-seen; up != got {
			t.Errorf("client got %q, upstream %q", got, up)
		}
		if kept && got != sent || !kept && len(got) != 32 {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
	if strings.Contains(r.logs.String(), free) {
		t.Error("a key that was sent as a request id is in the log")
	}
}

// Whatever a client or an upstream does with a key, it is not in the log.
func TestKeyIsNeverLogged(t *testing.T) {
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "nonsense %s\r\n\r\n", r.Header.Get("Authorization"))
		conn.Close()
	}})
	for _, key := range []string{free, pro, revoked, unlisted, "sk_live_%"} {
		for _, path := range []string{"/verify", "/keys/" + pro + "/x?key=" + pro, "/run"} {
			r.request(t, "POST", path, key, nil)
			r.request(t, "POST", path, key, strings.NewReader(strings.Repeat("x", 2000)))
		}
	}
	if log := r.logs.String(); strings.Contains(log, "sk_live_test") {
		t.Errorf("there is a key in the log: %s", log)
	}
	if r.logs.count("request") == 0 || r.logs.count("upstream failed") == 0 {
		t.Errorf("the log lacks what it should have: %s", r.logs)
	}
}
