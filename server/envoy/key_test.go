package envoy_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/overten/sluice/server"
)

// Behind CGI and its like X_Api_Key is X-Api-Key: a client once had a key of its choice counted, and
// another taken.
func TestUnderscoresMakeNoOtherHeader(t *testing.T) {
	r := start(t, nil)
	for _, headers := range [][]string{
		{"x-api-key", "throwaway", "x_api_key", "victim"},
		{"x-api-key", "throwaway", "X-Api_Key", "victim"},
		{"authorization", "Bearer throwaway", "x_api_key", "victim"},
	} {
		if got := r.authorize(t, nil, headers...).GetDeniedResponse().GetStatus().GetCode(); got != 401 {
			t.Errorf("%v: %v, want 401", headers, got)
		}
	}
	if r.authorize(t, nil, "authorization", "Bearer a", "x_api_key", "a").GetOkResponse() == nil {
		t.Error("one key that is shown twice is denied")
	}
	resp, err := r.authz.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{
			Headers: []*corev3.HeaderValue{{Key: "X-Api-Key", RawValue: []byte("throwaway")}, {Key: "X_Api_Key", RawValue: []byte("victim")}},
		}}},
	}})
	if err != nil || resp.GetDeniedResponse().GetStatus().GetCode() != 401 {
		t.Errorf("raw headers: %v, %v", resp, err)
	}
}

// A request id that holds the key was once logged, and so was the key.
func TestNoLogTellsAKeyThatIsSentAsRequestID(t *testing.T) {
	const key = "sk_live_0123456789abcdef"
	log := new(logText)
	r := start(t, func(c *server.Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for _, id := range []string{key, key, key, "request-of-" + key + ".1"} {
		resp := r.authorize(t, nil, "x-api-key", key, "x-request-id", id)
		if strings.Contains(resp.String(), key) {
			t.Errorf("%s: the answer is %v", id, resp)
		}
		r.wait(2 * time.Second) // each denial is due to be logged
	}
	r.authorize(t, nil, "x-api-key", key, "x-request-id", "req-9")
	if text := log.String(); strings.Contains(text, key) || !strings.Contains(text, "msg=denied") || !strings.Contains(text, "request_id=req-9") {
		t.Errorf("the log tells the key, or not of denials: %s", text)
	}
}

// logText is a log that may be read while it is written.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
