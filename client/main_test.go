package client_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in a synctest bubble: its time passes only when all wait.
func bubble(t *testing.T, f func(t *testing.T, limiter *fakelimiter.Limiter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, fakelimiter.Start(t)) })
}

func newClient(t *testing.T, limiter *fakelimiter.Limiter, opts ...client.Option) *client.Client {
	t.Helper()
	opts = append([]client.Option{
		client.WithDialOptions(limiter.DialOption()),
		client.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	c, err := client.New(fakelimiter.Target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func acquire(t *testing.T, c *client.Client, req client.AcquireRequest) *client.Lease {
	t.Helper()
	g, err := c.Acquire(t.Context(), req)
	if err != nil || !g.Granted || g.Lease == nil {
		t.Fatalf("Acquire(%q) = %+v, %v; want a lease", req.RunID, g, err)
	}
	return g.Lease
}

func isLost(l *client.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// pass lets d go by in the bubble, and then all that this set off.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// during returns a Hook that runs f in the call.
func during(f func()) fakelimiter.Hook {
	return func(context.Context, proto.Message) error {
		f()
		return nil
	}
}
