package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
)

func TestUpstreamRequest(t *testing.T) {
	seen := make(chan *http.Request, 1)
	r := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r }})
	r.request(t, "POST", "/a%20b/c?x=1", pro, nil,
		header{"X-Forwarded-For", "1.2.3.4"}, header{"X-Forwarded-Proto", "https"}, header{"Forwarded", "for=1.2.3.4"},
		header{"Connection", "X-Hop"}, header{"X-Hop", "1"}, header{"X-Mine", "2"})
	got := <-seen
	for name, want := range map[string]string{
		"Authorization": "Bearer " + pro, "X-Mine": "2", "X-Hop": "", "Forwarded": "",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": strings.TrimPrefix(r.url, "http://"),
	} {
		if v := strings.Join(got.Header.Values(name), "|"); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if got.RequestURI != "/a%20b/c?x=1" {
		t.Errorf("request is for %s", got.RequestURI)
	}
}

// A query passes byte for byte, also where Go's parser does not understand it.
func TestQueryPassesAsItIs(t *testing.T) {
	seen := make(chan string, 1)
	r := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }})
	for _, uri := range []string{"/x?filter=a;b&z=1&a=2", "/x?q=100%&z=1&a=2", "/x?sig=%zz", "/x?b=1&a=%2f", "/x?", "/x"} {
		conn := r.dial(t)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", uri, pro)
		io.Copy(io.Discard, conn)
		if got := <-seen; got != uri {
			t.Errorf("%s arrived as %s", uri, got)
		}
	}
}

// What is the gateway's word, no client can say with underscores: a CGI or WSGI
// server reads both spellings as one.
func TestOwnHeadersHaveOneSpelling(t *testing.T) {
	seen := make(chan http.Header, 1)
	for _, trusted := range [][]netip.Prefix{nil, {netip.MustParsePrefix("127.0.0.1/32")}} {
		r := newRig(t, setup{
			config:   func(c *gateway.Config) { c.TrustedProxies = trusted },
			upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header },
		})
		r.request(t, "POST", "/run", pro, nil, header{"X_Forwarded_For", "forged"}, header{"x_forwarded-for", "forged"},
			header{"X_FORWARDED_HOST", "forged"}, header{"X-Forwarded_Proto", "forged"}, header{"X_Request_Id", "forged"},
			header{"X_RateLimit_Lease", "forged"}, header{"X_Mine", "kept"})
		h := <-seen
		if s := fmt.Sprint(h); strings.Contains(s, "forged") || !strings.Contains(s, "kept") {
			t.Errorf("trusted %v: the upstream got %v", trusted, h)
		}
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", gateway.LeaseHeader} {
			if n := len(h.Values(name)); n != 1 {
				t.Errorf("trusted %v: the upstream got %d of %s", trusted, n, name)
			}
		}
	}
}

func TestTrustedProxyIsBelieved(t *testing.T) {
	seen := make(chan http.Header, 1)
	r := newRig(t, setup{
		config:   func(c *gateway.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} },
		upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header },
	})
	r.request(t, "GET", "/", pro, nil, header{"X-Forwarded-For", "1.2.3.4"},
		header{"X-Forwarded-Proto", "https"}, header{"X-Forwarded-Host", "api.example"})
	h := <-seen
	got := h.Get("X-Forwarded-For") + " " + h.Get("X-Forwarded-Proto") + " " + h.Get("X-Forwarded-Host")
	if want := "1.2.3.4, 127.0.0.1 https api.example"; got != want {
		t.Errorf("forwarded is %q, want %q", got, want)
	}
}

// What the upstream writes of limits is replaced; the rest passes untouched.
func TestUpstreamResponse(t *testing.T) {
	const text = "as it is"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, text)
	z.Close()
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-RateLimit-Limit", "1")
		h.Set("X-RateLimit-Remaining", "1")
		h.Set("X-RateLimit-Reset", "1")
		h.Set("Retry-After", "7")
		h.Set("ETag", `"v1"`)
		switch r.URL.Path {
		case "/gzip":
			h.Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/302":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/201":
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, text)
		default:
			io.WriteString(w, text)
		}
	}})
	tests := []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/", 200, text}, {"HEAD", "/", 200, ""}, {"GET", "/304", 304, ""},
		{"POST", "/201", 201, text}, {"POST", "/302", 302, ""}, {"GET", "/gzip", 200, packed.String()},
	}
	for _, test := range tests {
		res := r.request(t, test.method, test.path, enterprise, nil)
		res.wantHeaders(t)
		if res.status != test.status || string(res.body) != test.body || res.err != nil {
			t.Errorf("%s %s: status %d, %q, %v", test.method, test.path, res.status, res.body, res.err)
		}
		if got := res.number(t, contract.HeaderLimit); got != 600 {
			t.Errorf("%s %s: limit is %d, want 600", test.method, test.path, got)
		}
		if res.header.Get("ETag") != `"v1"` || res.header.Get("Retry-After") != "7" {
			t.Errorf("%s %s: headers are %v", test.method, test.path, res.header)
		}
	}
}

func TestUpstreamErrors(t *testing.T) {
	const own = `{ "success": false, "error": "not_found", "message": "No such run." }`
	gzipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.String()
	}
	long := `{"success":false,"error":"not_found","message":"` + strings.Repeat("x", 64<<10) + `"}`
	tests := []struct {
		name     string
		method   string
		status   int
		encoding string
		body     string
		want     contract.Code // empty: it passes untouched
	}{
		{"own", "GET", 404, "", own, ""},
		{"own in gzip", "GET", 404, "gzip", gzipped(own), ""},
		{"own, another status", "GET", 400, "", own, contract.InvalidRequest},
		{"own, one member more", "GET", 404, "", `{"success":false,"error":"not_found","message":"","trace":"x"}`, contract.NotFound},
		{"own, too long", "GET", 404, "", long, contract.NotFound},
		{"own in gzip, too long", "GET", 404, "gzip", gzipped(long), contract.NotFound},
		{"own, padded", "GET", 404, "", own + strings.Repeat(" ", 64<<10), contract.NotFound},
		{"own in gzip, padded", "GET", 404, "gzip", gzipped(own + strings.Repeat(" ", 64<<10)), contract.NotFound},
		{"own in an unknown encoding", "GET", 404, "br", own, contract.NotFound},
		{"no gzip", "GET", 404, "gzip", own, contract.NotFound},
		{"two codes of one status", "GET", 400, "", `{"success":false,"error":"preflight_failed","message":"x"}`, ""},
		{"trace", "POST", 500, "", "Traceback: ...", contract.InternalError},
		{"gateway's timeout", "GET", 504, "", "<html>", contract.UpstreamError},
		{"status that the contract lacks", "GET", 418, "", "", contract.InvalidRequest},
		{"no capacity", "GET", 503, "", "", contract.ServiceUnavailable},
		{"limited", "GET", 429, "", "slow down", contract.RateLimitExceeded},
		{"head", "HEAD", 404, "", own, ""},
		{"head, status that the contract lacks", "HEAD", 418, "", "", contract.InvalidRequest},
		{"run", "RUN", 422, "", "bad", contract.ValidationError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, setup{upstream: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/x-own")
				w.Header().Set("Www-Authenticate", "Bearer")
				w.Header().Set("Trailer", "X-Trace")
				defer w.Header().Set("X-Trace", "a stack")
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}})
			method, path := test.method, "/"
			if method == "RUN" {
				method, path = "POST", "/run"
			}
			res := r.request(t, method, path, free, nil)
			res.wantHeaders(t)
			if res.header.Get("Www-Authenticate") != "Bearer" {
				t.Error("a header of the upstream is lost")
			}
			if method == "HEAD" {
				if want := (contract.Error{Code: test.want}).Status(); test.want != "" && res.status != want || test.want == "" && res.status != test.status {
					t.Errorf("status %d", res.status)
				}
				return
			}
			if test.want == "" {
				if res.status != test.status || string(res.body) != test.body || res.header.Get("Content-Type") != "text/x-own" {
					t.Errorf("status %d, %q, %v", res.status, res.body, res.header)
				}
				return
			}
			res.wantError(t, test.want)
			if e := res.header.Get("Content-Encoding"); e != "" || len(res.trailer) > 0 {
				t.Errorf("Content-Encoding is %q, the trailer %v", e, res.trailer)
			}
			wait := res.header.Get(contract.HeaderRetryAfter)
			if due := res.status == 429 || res.status == 503; due != (wait != "") {
				t.Errorf("Retry-After is %q", wait)
			}
		})
	}
}

func TestRetryAfterOfTheUpstreamStays(t *testing.T) {
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "99")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}})
	res := r.request(t, "GET", "/", free, nil)
	res.wantError(t, contract.ServiceUnavailable)
	if got := res.header.Get("Retry-After"); got != "99" {
		t.Errorf("Retry-After is %s, want the upstream's", got)
	}
}

func TestUpstreamDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := newRig(t, setup{at: "http://" + l.Addr().String()})
	res := r.request(t, "POST", "/run", free, strings.NewReader("x"))
	res.wantError(t, contract.UpstreamError)
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use", n)
	}
	if log := r.logs.String(); !strings.Contains(log, res.header.Get(contract.HeaderRequestID)) || r.logs.count("upstream failed") != 1 {
		t.Errorf("log is %s", log)
	}
}

func TestUploadThatGrowsTooLarge(t *testing.T) {
	got := make(chan int64, 1)
	r := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			n = -1
		}
		got <- n
	}})
	for size, want := range map[int]int64{1024: 1024, 1025: -1, 1 << 20: -1} {
		for path, key := range map[string]string{"/run": free, "/public": ""} {
			// A reader of another type than those that net/http knows has no length.
			body := io.MultiReader(strings.NewReader(strings.Repeat("x", size)))
			res := r.request(t, "POST", path, key, body)
			if want < 0 {
				res.wantError(t, contract.PayloadTooLarge)
			} else if res.status != 200 {
				t.Errorf("%d bytes: status %d, %s", size, res.status, res.body)
			}
			if n := <-got; n != want {
				t.Errorf("%d bytes: the upstream got %d, want %d", size, n, want)
			}
		}
	}
	if n := r.inUse(t, free); n != 0 {
		t.Errorf("%d runs in use", n)
	}
}

func TestUploadThatIsBroken(t *testing.T) {
	r := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }})
	conn := r.dial(t)
	fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", free)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	result{status: res.StatusCode, header: res.Header, body: b}.wantError(t, contract.InvalidRequest)
	r.waitInUse(t, free, 0)
}

// A stream passes as it comes.
func TestServerSentEvents(t *testing.T) {
	next := make(chan string)
	r := newRig(t, setup{upstream: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			fmt.Fprintf(w, "data: %s\n\n", event)
			http.NewResponseController(w).Flush()
		}
	}})
	req, _ := http.NewRequestWithContext(context.Background(), "GET", r.url+"/events", nil)
	req.Header.Set("Authorization", "BEARER  "+free)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		next <- "1"
	}()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-sent
	lines := bufio.NewReader(res.Body)
	for _, event := range []string{"1", "2"} {
		if event != "1" {
			next <- event
		}
		line, err := lines.ReadString('\n')
		if err != nil || line != "data: "+event+"\n" {
			t.Fatalf("line %q, %v", line, err)
		}
		lines.ReadString('\n')
	}
	close(next)
	if _, err := io.ReadAll(lines); err != nil {
		t.Error(err)
	}
}

// An upgraded connection passes both ways, outlives the sync ceiling, and holds
// its slot until it is closed.
func TestWebSocket(t *testing.T) {
	r := newRig(t, setup{
		config: func(c *gateway.Config) {
			c.SyncCeiling = 50 * time.Millisecond
			c.Routes = []gateway.Route{{Pattern: "GET /socket", Run: true}}
		},
		upstream: func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-RateLimit-Limit: 1\r\nX-RateLimit-Lease: %s\r\n\r\n",
				r.Header.Get(gateway.LeaseHeader))
			io.Copy(conn, rw)
		},
	})
	conn := r.dial(t)
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", free)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	result{status: res.StatusCode, header: res.Header}.wantHeaders(t)
	if res.StatusCode != 101 || res.Header.Get("X-RateLimit-Limit") != "10" {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	ceiling := time.NewTimer(100 * time.Millisecond)
	<-ceiling.C
	fmt.Fprint(conn, "hello\n")
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if n := r.inUse(t, free); n != 1 {
		t.Errorf("%d runs in use, want 1", n)
	}
	conn.Close()
	r.waitInUse(t, free, 0)
}
