package httplimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is a Limiter that answers what it was told, and remembers the question.
type told struct {
	decision client.Decision
	grant    client.Grant
	err      error

	checks   []client.CheckRequest
	acquires []client.AcquireRequest
	ids      []string // request ids of the calls
}

func (l *told) Check(ctx context.Context, req client.CheckRequest) (client.Decision, error) {
	l.checks, l.ids = append(l.checks, req), append(l.ids, client.RequestID(ctx))
	return l.decision, l.err
}

func (l *told) Acquire(ctx context.Context, req client.AcquireRequest) (client.Grant, error) {
	l.acquires, l.ids = append(l.acquires, req), append(l.ids, client.RequestID(ctx))
	return l.grant, l.err
}

// config limits by the header Authorization; POST is a run, of the tier pro.
func config() httplimit.Config {
	return httplimit.Config{
		Key: func(r *http.Request) (string, string, error) {
			key := r.Header.Get("Authorization")
			if key == "" {
				return "", "", errors.New("no key")
			}
			return key, "pro", nil
		},
		Run: func(r *http.Request) bool { return r.Method == http.MethodPost },
		Log: slog.New(slog.DiscardHandler),
	}
}

// limited puts limiter in front of next; nil: a handler that answers 204.
func limited(t *testing.T, limiter httplimit.Limiter, cfg httplimit.Config, next http.HandlerFunc) http.Handler {
	t.Helper()
	wrap, err := httplimit.New(limiter, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if next == nil {
		next = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	}
	return wrap(next)
}

func request(method string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Header.Set("Authorization", "sk_live_1")
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantLimit checks the rate-limit headers, which every response must carry once.
func wantLimit(t *testing.T, h http.Header, limit, remaining string) {
	t.Helper()
	for name, want := range map[string]string{contract.HeaderLimit: limit, contract.HeaderRemaining: remaining} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if got := h.Values(contract.HeaderReset); len(got) != 1 || got[0] == "" {
		t.Errorf("%s is %q", contract.HeaderReset, got)
	}
	if got := h.Values(contract.HeaderRequestID); len(got) != 1 || !contract.ValidRequestID(got[0]) {
		t.Errorf("%s is %q", contract.HeaderRequestID, got)
	}
}

// wantError checks that the response is the contract's error, and returns its message.
func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, code contract.Code) string {
	t.Helper()
	body, ok := contract.ParseBody(w.Body.Bytes())
	if w.Code != status || !ok || body.Error != code {
		t.Errorf("answered %d %s, want %d %s", w.Code, w.Body, status, code)
	}
	if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("not JSON: %s %s", w.Header().Get("Content-Type"), w.Body)
	}
	return body.Message
}

// connected returns a client of a limiter in memory.
func connected(t *testing.T, opts ...client.Option) (*client.Client, *fakelimiter.Limiter) {
	t.Helper()
	limiter := fakelimiter.Start(t)
	opts = append([]client.Option{
		client.WithDialOptions(limiter.DialOption()), client.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	c, err := client.New(fakelimiter.Target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, limiter
}
