package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overten/sluice/limiter/policy"
)

func TestBearerKey(t *testing.T) {
	long := "sk_live_" + strings.Repeat("x", 248)
	for value, want := range map[string]string{
		"Bearer sk_live_a-B_9": "sk_live_a-B_9", "bearer sk_live_a": "sk_live_a", "BEARER   sk_live_a ": "sk_live_a",
		"Bearer " + long: long, "Bearer " + long + "x": "",
		"": "", "Bearer": "", "Bearer ": "", "Bearer sk_live_": "", "Bearer sk_test_a": "", "sk_live_a": "", "Basic sk_live_a": "",
		"Bearer sk_live_a b": "", "Bearer sk_live_a,sk_live_b": "", "Bearer sk_live_é": "", "Bearer SK_LIVE_a": "", "Bearer\tsk_live_a": "",
	} {
		got, ok := bearerKey(http.Header{"Authorization": {value}})
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", value, got, ok, want)
		}
	}
	if _, ok := bearerKey(http.Header{}); ok {
		t.Error("no header is a key")
	}
}

func TestRedact(t *testing.T) {
	for s, want := range map[string]string{
		"nothing here": "nothing here", "x sk_live_abc-1_2, sk_live_b.": "x sk_live_…, sk_live_….", "sk_live_": "sk_live_…",
	} {
		if got := redact(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestAddressKey(t *testing.T) {
	for s, want := range map[string]string{
		"203.0.113.7:80": "ip:203.0.113.7", "203.0.113.7": "ip:203.0.113.7", "[::ffff:203.0.113.7]:80": "ip:203.0.113.7",
		"[2001:db8:1:2:3::4%eth0]:80": "ip:2001:db8:1:2::/64", "2001:db8:1:2::9": "ip:2001:db8:1:2::/64", "[2001:db8::1]": "ip:2001:db8::/64",
		"::1": "ip:::/64", "@": "ip:unknown", "": "ip:unknown", "[": "ip:unknown",
	} {
		if got := addressKey(parseHop(s)); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

func TestClientAddressBehindTrustedProxies(t *testing.T) {
	for _, test := range []struct {
		name, want string
		hops       []string
	}{
		{"all are trusted", "10.0.0.3", []string{"10.0.0.3", " 10.0.0.2"}},
		{"nobody is named", "10.0.0.1", nil},
		{"an entry is no address", "10.0.0.2", []string{"203.0.113.7, nonsense,10.0.0.2"}},
		{"the last is no address", "10.0.0.1", []string{"203.0.113.7", ""}},
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": test.hops}}
		got := clientAddress(r, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
		if got.String() != test.want {
			t.Errorf("%s: address is %v, want %s", test.name, got, test.want)
		}
	}
}

func TestUnambiguous(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a/b/": true, "//a": true, "/a%20b": true, "/a..b/...": true, "/%61": true, "/a%252e": true, "/a,b=1:2": true,
		"/.": false, "/a/..": false, "/../a": false, "/%2e": false, "/.%2E/a": false, "/a%2Fb": false, "/a%5cb": false, `/a\b`: false, "/a%00": false,
		"/a;x=1": true, "/a%3Bx": true,
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := unambiguous(u); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if unambiguous(&url.URL{}) || unambiguous(&url.URL{Path: "*"}) {
		t.Error("what is no path passes")
	}
}

// A parameter is data, unless it hides the route that an upstream which cuts it off would see.
func TestAlike(t *testing.T) {
	routes, problems := newRouteTable([]Route{{Pattern: "POST /templates"}, {Pattern: "/files/"}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for request, want := range map[string]bool{
		"POST /templates": true, "GET /maps/@1,2;z=3": true, "GET /users;v=1/x": true, "GET /files/a;v=2": true, "GET /templates;x=1": true,
		"GET /files/report%3B2024.pdf": true, "POST /templates%3Bx=1": true,
		"POST /templates;x=1": false, "POST /x/..;/templates": false, "POST /templates;/": false, "GET /files;x/a": false, "GET /a/.;x/b": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := routes.alike(&http.Request{Method: method, URL: u}); got != want {
			t.Errorf("%s: %v, want %v", request, got, want)
		}
	}
}

func TestPlainMethod(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": true, "POST": true, "M-SEARCH": true, "X": true, "get": false, "Post": false, "POSt": false, "CONNECT": false,
	} {
		if got := plainMethod(method); got != want {
			t.Errorf("%s: %v, want %v", method, got, want)
		}
	}
}

func TestMostSpecificRouteCounts(t *testing.T) {
	routes := []Route{
		{Pattern: "/files/"}, {Pattern: "GET /files/{id}"}, {Pattern: "/files/{id}"}, {Pattern: "GET /files/all"},
	}
	table, bad := newRouteTable(routes)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for request, want := range map[string]string{
		"GET /files/all": "GET /files/all", "HEAD /files/all": "GET /files/all", "POST /files/all": "/files/{id}",
		"GET /files/7": "GET /files/{id}", "GET /files/7/": "/files/", "GET /files/": "/files/", "GET /files": "/files/",
		"GET //files//all": "GET /files/all", "GET /files/al%6c": "GET /files/all", "GET /x": "", "GET /": "",
	} {
		method, path, _ := strings.Cut(request, " ")
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.match(&http.Request{Method: method, URL: u}).Pattern; got != want {
			t.Errorf("%s: route %q, want %q", request, got, want)
		}
	}
}

// The gateway's own count of addresses is the engine's, and forgets idle ones.
func TestAddressCounter(t *testing.T) {
	tier, _ := policy.Default().Tier("free")
	c, err := newAddressCounter(tier)
	if err != nil {
		t.Fatal(err)
	}
	now := c.origin
	for range 10 {
		if d := c.check("a", now); !d.Allowed {
			t.Fatal("denied within the limit")
		}
	}
	d := c.check("a", now.Add(time.Second))
	if d.Allowed || d.RetryAfter != 59*time.Second || !d.Decided() {
		t.Errorf("decision is %+v", d)
	}
	if !c.check("b", now).Allowed {
		t.Error("one address counts for another")
	}
	if !c.check("a", now.Add(60*time.Second)).Allowed {
		t.Error("denied after a minute")
	}
	later := now.Add(time.Hour)
	for range 100 {
		c.check("c", later)
	}
	if n := c.table.Keys(); n != 1 {
		t.Errorf("%d addresses are held, want 1", n)
	}
}

func TestOccasional(t *testing.T) {
	var o occasional
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {59 * time.Second, false}, {time.Minute, true}, {90 * time.Second, false}} {
		if got := o.due(now.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// A ceiling that was lifted does nothing, even if its time had come.
func TestCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set, lifted ceiling
		calls := 0
		rc := http.NewResponseController(nil)
		set.set(time.Second, rc, func() { calls++ })
		lifted.set(time.Second, rc, func() { t.Error("a lifted ceiling ended something") })
		if set.reached() {
			t.Error("reached at once")
		}
		lifted.lift()
		<-time.After(time.Minute) // in the bubble
		synctest.Wait()
		if calls != 1 || !set.reached() || lifted.reached() {
			t.Errorf("%d calls", calls)
		}
		new(ceiling).lift()
	})
}

// A writer that only remembers its deadline.
type deadlineWriter struct {
	http.ResponseWriter
	deadline time.Time
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

// The last bytes have what was left of the ceiling, and a second at least.
func TestLastBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c ceiling
		var w deadlineWriter
		begun := time.Now()
		c.set(10*time.Second, http.NewResponseController(&w), func() {})
		c.lift()
		for after, want := range map[time.Duration]time.Duration{
			0: 10 * time.Second, 9 * time.Second: 10 * time.Second, 20 * time.Second: 21 * time.Second,
		} {
			c.boundLastBytes(begun.Add(after))
			if got := w.deadline.Sub(begun); got != want {
				t.Errorf("settled after %v: they have until %v, want %v", after, got, want)
			}
		}
	})
}

// A file of any content gives a Config that is valid, or problems.
func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{
		"", "limiter: h:1\nfail: open\ntimeout: 20ms\n", "policy: p\nanonymous: {tier: pro}\n", "trusted_proxies: [10.0.0.0/8, '::1']\nsync_ceiling: 1m",
		"routes:\n- {pattern: POST /x, run: true}\n- pattern: /{a}/x\n- {pattern: 'GET /{$}', public: true}\n- {pattern: /y, tiers: [free, pro]}",
		"a: &a [*a]", "? [a]\n: b", "fail: !!binary aGk=", "routes: {0: 1}", "x: {<<: [{a: 1}]}", "---\n...\n---\n", "\xef\xbb\xbffail: open",
		"routes:\n- {pattern: 'GET  /x'}\n- {pattern: \"/\\t\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := parseConfig(data, func(name string) (*policy.Policy, error) {
			if name == "p" {
				return policy.Default(), nil
			}
			return nil, errors.New("no such file")
		})
		if len(problems) == 0 {
			if err := c.validate(); err != nil {
				t.Fatalf("accepted, but %v", err)
			}
			return
		}
		for _, p := range problems {
			if p.text == "" || p.line < 0 || p.line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+2 {
				t.Fatalf("problem %+v", p)
			}
		}
	})
}
