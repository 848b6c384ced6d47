package statusz

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/metrics"
)

// key has what HTML and URLs write in other ways.
const key = `sk_live_<b>"&'+%41 ü`

// fakeAdmin answers what the test wants.
type fakeAdmin struct {
	members *adminv1.MembersResponse
	inspect func(*adminv1.InspectRequest) (*adminv1.InspectResponse, error)
}

func (f *fakeAdmin) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	if f.members == nil {
		return nil, status.Error(codes.Unavailable, "the members are <gone>")
	}
	return f.members, nil
}

func (f *fakeAdmin) Inspect(_ context.Context, req *adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
	return f.inspect(req)
}

func member(name string) *adminv1.Member {
	return &adminv1.Member{
		Name: name, State: adminv1.NodeState_NODE_STATE_SERVING, Version: "v1", Boot: 3, UptimeMs: 90_000, ViewId: 0xabcdef0123456789, ViewMembers: 3,
		Policy: "00c0ffee11223344", Owned: 2, Held: 2, GrpcAddress: "10.0.0.1:7070", PeerAddress: "10.0.0.1:7071", AdminAddress: "10.0.0.1:7090",
	}
}

// rig is a page and what it is told.
type rig struct {
	admin           fakeAdmin
	self            Self
	owners, holders []string
	rates           Rates
	now             limiter.Instant
	log             strings.Builder
}

func newRig() *rig {
	r := &rig{now: start}
	r.self = Self{NodeStatus: peer.NodeStatus{Name: "b", Version: "v1", Policy: "00c0ffee11223344", Uptime: 90 * time.Second, Keys: 12_345}, MaxKeys: 1_000_000}
	r.admin.members = &adminv1.MembersResponse{AnsweredBy: "b", Partitions: 6, Agree: true, Members: []*adminv1.Member{member("a"), member("b"), member("c")}}
	r.owners = []string{"a", "a", "b", "b", "c", "c"}
	r.holders = slices.Clone(r.owners)
	return r
}

func (r *rig) serve(req *http.Request) (*http.Response, string) {
	h := New(&r.admin, Node{
		Self:      func() Self { return r.self },
		Placement: func() (owners, holders []string) { return r.owners, r.holders },
		Rates:     &r.rates,
		Clock:     func() (limiter.Instant, time.Time) { return r.now, time.Unix(1_800_000_000, 0) },
	}, slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	resp := w.Result()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func (r *rig) get(t *testing.T) string {
	t.Helper()
	resp, body := r.serve(httptest.NewRequest("GET", "/statusz", nil))
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%v: %s", resp, body)
	}
	return body
}

func form(values ...string) *http.Request {
	all := url.Values{}
	for i := 0; i < len(values); i += 2 {
		all.Set(values[i], values[i+1])
	}
	req := httptest.NewRequest("POST", "/statusz", strings.NewReader(all.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func shows(t *testing.T, page string, all ...string) {
	t.Helper()
	for _, text := range all {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %q", text)
		}
	}
}

var tag = regexp.MustCompile(`<[^>]*>`)

func TestPageShowsTheCluster(t *testing.T) {
	r := newRig()
	page := r.get(t)
	shows(t, page, "as of 2027-01-15 08:00:00 UTC", `<span class="pill good">ready</span>`, "1m 30s", "12,345", "of 1,000,000",
		"healthy: 3 members, in agreement on view abcdef01; 6 of 6 partitions held", "all with their owners", "33.3 %")
	if strings.Contains(page, "≠ <code>") {
		t.Error("members that agree are marked")
	}
}

// What is amiss is said and marked, and what others have chosen is text and nothing else.
func TestPageShowsWhatIsAmiss(t *testing.T) {
	r := newRig()
	r.self.NotReady = "draining"
	r.holders[2], r.holders[5] = "a", ""
	const evil = `<script>alert(1)</script>`
	all := r.admin.members.Members
	all[0].Policy = "deadbeef00000000"
	all[2] = &adminv1.Member{Name: evil, Error: evil}
	r.owners[4] = evil
	page := r.get(t)
	shows(t, page, "Not ready: draining.", "not healthy", `≠ <code>deadbeef</code>`, "no answer: &lt;script&gt;", "1 held by nobody known",
		"<title>partition 2: held by a, owned by b</title>", "<title>partition 5: no holder known, owned by c</title>")
	if strings.Contains(page, "<script") {
		t.Error("a member's name is not escaped")
	}
	r.admin.members = nil
	shows(t, r.get(t), "The members cannot be told: the members are &lt;gone&gt;", "all", "partitions")
}

// The page may load and run nothing, and its own style is what the policy names.
func TestHeaders(t *testing.T) {
	resp, page := newRig().serve(httptest.NewRequest("GET", "/statusz", nil))
	csp := resp.Header.Get("Content-Security-Policy")
	for _, rule := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'sha256-"} {
		if !strings.Contains(csp, rule) {
			t.Errorf("the policy %q lacks %q", csp, rule)
		}
	}
	styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(page, -1)
	if len(styles) != 1 || !strings.Contains(csp, "'sha256-"+fingerprint(styles[0][1])+"'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy %q does not go by the page's style", csp)
	}
	if found := regexp.MustCompile(`(?i)<script|<[^>]+\s(style|src|on[a-z]+)=|https?:`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMethods(t *testing.T) {
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "PUT": 405, "DELETE": 405, "OPTIONS": 405, "PATCH": 405} {
		resp, _ := newRig().serve(httptest.NewRequest(method, "/statusz", nil))
		if resp.StatusCode != want || resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d, want %d", method, resp.StatusCode, want)
		}
	}
}

// The page loads itself again only if it is told to, and then has no form that would be emptied.
func TestRefresh(t *testing.T) {
	for query, want := range map[string]string{"": "", "?refresh=5": `<meta http-equiv="refresh" content="5">`, "?refresh=0": "", "?refresh=x": "", "?refresh=4000": ""} {
		_, page := newRig().serve(httptest.NewRequest("GET", "/statusz"+query, nil))
		got := regexp.MustCompile(`<meta http-equiv="refresh"[^>]*>`).FindString(page)
		if got != want || strings.Contains(page, "<form") == (want != "") {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}

func explained() *adminv1.InspectResponse {
	return &adminv1.InspectResponse{
		Identity: "0123456789abcdef", Found: true, Tier: "pro", Status: adminv1.KeyStatus_KEY_STATUS_ACTIVE, Exactness: adminv1.Exactness_EXACTNESS_EXACT, Concurrent: 10,
		Placement: &adminv1.Placement{Partition: 4, Holder: "c", Generation: "2.c.9", Copies: []string{"a", "b"}, Permitted: true},
		Windows:   []*adminv1.Window{{Limit: 60, PerMs: 60_000, Used: 7, Remaining: 53, ResetAfterMs: 1_500}},
		History:   []*adminv1.Admission{{AgeMs: 70_000, Units: 9}, {AgeMs: 59_999, Units: 2}, {AgeMs: 0, Units: 5}},
		Leases:    []*adminv1.Lease{{RunId: "<run>", TaskId: "task-1", Tier: "pro", AgeMs: 65_000, ExpiresInMs: 2_500}},
	}
}

func TestKeyIsExplained(t *testing.T) {
	r := newRig()
	var asked *adminv1.InspectRequest
	r.admin.inspect = func(req *adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
		asked = req
		return explained(), nil
	}
	resp, page := r.serve(form("key", key, "tier", "pro"))
	if resp.StatusCode != 200 || asked.GetKey() != key || asked.GetTier() != "pro" {
		t.Errorf("%d, asked for %v", resp.StatusCode, asked)
	}
	text := strings.Join(strings.Fields(tag.ReplaceAllString(page, " ")), " ")
	shows(t, text, "0123456789abcdef", "c partition 4, generation 2.c.9", "a, b", "exact: from the complete history",
		"60 per 1m0s 7 of 60 7 53 in 1.5s", "7 admitted in the last 1m0s", "1 of 10 runs", "&lt;run&gt; task-1 - pro 1m 5s 2.5s")
}

// Where the oldest part of a history is left out, what is reckoned from the rest is a bound.
func TestKeyWithALongHistory(t *testing.T) {
	r := newRig()
	r.admin.inspect = func(*adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
		long := explained()
		long.HistoryTruncated = true
		return long, nil
	}
	_, page := r.serve(form("key", key))
	text := strings.Join(strings.Fields(tag.ReplaceAllString(page, " ")), " ")
	shows(t, text, "at least 7 at most 53 within 1.5s", "there may be more")
}

// Whatever is answered, what was typed shows neither in the page nor in the log, though it was
// typed into the wrong field or sent in a wrong way.
func TestKeyShowsNowhere(t *testing.T) {
	hidden := []string{key, url.QueryEscape(key), "sk_live"}
	long := strings.Repeat("sk_live_", 600)
	broken := form("key", key)
	broken.Body = io.NopCloser(strings.NewReader("key=sk_live_%zz"))
	inURL := httptest.NewRequest("GET", "/statusz?key="+url.QueryEscape(key)+"&refresh="+url.QueryEscape(key), nil)
	for name, c := range map[string]struct {
		req  *http.Request
		err  error
		code int
		says string
	}{
		"answered":       {form("key", key), nil, 200, "0123456789abcdef"},
		"as the tier":    {form("key", "", "tier", key), status.Error(codes.InvalidArgument, "/key: is required"), 400, "key: is required"},
		"no holder":      {form("key", key), status.Error(codes.Unavailable, "the node that was asked did not answer in time"), 503, "did not answer in time"},
		"a fault":        {form("key", key), status.Error(codes.Internal, "see its log"), 500, "see its log"},
		"too large":      {form("key", long), nil, 413, "too large"},
		"cannot be read": {broken, nil, 400, "cannot be read"},
		"in a URL":       {inURL, nil, 200, "Explain"},
	} {
		r := newRig()
		r.admin.inspect = func(*adminv1.InspectRequest) (*adminv1.InspectResponse, error) { return explained(), c.err }
		resp, page := r.serve(c.req)
		if resp.StatusCode != c.code {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, c.code)
		}
		shows(t, page, c.says)
		for _, h := range hidden {
			if strings.Contains(page, h) || strings.Contains(r.log.String(), h) {
				t.Errorf("%s: the key shows", name)
			}
		}
	}
}

// Another site cannot have a browser send the form.
func TestFormOfAnotherSite(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		code   int
	}{
		"no browser":            {nil, 200},
		"its own":               {http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		"its own, by an origin": {http.Header{"Origin": {"http://example.com"}}, 200}, // httptest's host
		"another site":          {http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"a neighbor":            {http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		"another origin":        {http.Header{"Origin": {"http://elsewhere.example"}}, 403},
		"an origin that hides":  {http.Header{"Origin": {"null"}}, 403},
	} {
		r := newRig()
		asked := false
		r.admin.inspect = func(*adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
			asked = true
			return explained(), nil
		}
		req := form("key", key)
		for k, v := range c.header {
			req.Header[k] = v
		}
		if resp, _ := r.serve(req); resp.StatusCode != c.code || asked != (c.code == 200) {
			t.Errorf("%s: %d, asked %v; want %d", name, resp.StatusCode, asked, c.code)
		}
	}
}

// The page says for how long it has looked, and shows only reasons that came.
func TestDecisions(t *testing.T) {
	r := newRig()
	shows(t, r.get(t), "the node has just started")
	r.rates.Sample(start, nil)
	r.rates.Sample(after(5*time.Second), []metrics.Decisions{decided("free", 30, 10), decided("pro", 50, 0)})
	r.now = after(7 * time.Second)
	page := r.get(t)
	text := strings.Join(strings.Fields(tag.ReplaceAllString(page, " ")), " ")
	shows(t, text, "Seen for 7s, until 2s ago", "allowed 16 /s", "rate limited 2 /s", "The last 5s, by tier tier allowed rate limited denied free 30 10 25.0 % pro 50 0 0.0 %")
	if strings.Contains(text, "key unknown") {
		t.Error("a reason that never came is shown")
	}
}
