package client_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/internal/fakelimiter"
	"github.com/overten/sluice/limiter/contract"
)

// Each status either means that nothing could be decided, and then the policy
// rules, or that the call was wrong, and then it fails under any policy.
func TestPolicyByStatus(t *testing.T) {
	undecided := map[codes.Code]bool{
		codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Canceled: true, codes.Aborted: true,
		codes.Internal: true, codes.Unknown: true, codes.DataLoss: true,
	}
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		open := newClient(t, limiter, client.WithPolicy(client.FailOpen))
		closed := newClient(t, limiter)
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			limiter.Before("Check", fakelimiter.Fail(code))
			limiter.Before("Acquire", fakelimiter.Fail(code))

			d, err := closed.Check(t.Context(), client.CheckRequest{Key: "k"})
			if d.Allowed || d.Decided() || err == nil || errors.Is(err, client.ErrUndecided) != undecided[code] {
				t.Errorf("%v, fail closed: %+v, %v", code, d, err)
			}
			d, err = open.Check(t.Context(), client.CheckRequest{Key: "k"})
			if d.Decided() || d.Allowed != undecided[code] || (err == nil) != undecided[code] {
				t.Errorf("%v, fail open: %+v, %v", code, d, err)
			}
			g, err := open.Acquire(t.Context(), client.AcquireRequest{Key: "k", RunID: "r"})
			if g.Decided() || g.Granted != undecided[code] || g.Lease != nil || (err == nil) != undecided[code] {
				t.Errorf("%v, run, fail open: %+v, %v", code, g, err)
			}
		}
	})
}

func TestDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter)
		limiter.Before("Check", fakelimiter.Lose)
		for _, tt := range []struct{ caller, want time.Duration }{
			{0, 50 * time.Millisecond},
			{20 * time.Millisecond, 20 * time.Millisecond},
			{time.Hour, 50 * time.Millisecond},
		} {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if tt.caller > 0 {
				ctx, cancel = context.WithTimeout(ctx, tt.caller)
			}
			start := time.Now()
			_, err := c.Check(ctx, client.CheckRequest{Key: "k"})
			cancel()
			if took := time.Since(start); took != tt.want {
				t.Errorf("caller's deadline %v: took %v, want %v", tt.caller, took, tt.want)
			}
			if !errors.Is(err, client.ErrUndecided) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("caller's deadline %v: %v", tt.caller, err)
			}
		}
	})
}

// Whoever has gone away wants no answer: fail open is for callers that wait.
func TestCanceledCallerIsNeverLetThrough(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		c := newClient(t, limiter, client.WithPolicy(client.FailOpen))
		d, err := c.Check(canceled(t), client.CheckRequest{Key: "k"})
		if d.Allowed || !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v; want context.Canceled", d, err)
		}
	})
}

func TestConnectionRefused(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		refuse := client.WithDialOptions(grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}))
		for _, policy := range []client.Policy{client.FailClosed, client.FailOpen} {
			c, err := client.New("passthrough:///nowhere", refuse, client.WithPolicy(policy),
				client.WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			d, err := c.Check(t.Context(), client.CheckRequest{Key: "k"})
			open := policy == client.FailOpen
			if d.Allowed != open || errors.Is(err, client.ErrUndecided) == open {
				t.Errorf("fail %v: %+v, %v", policy, d, err)
			}
			if took := time.Since(start); took > client.DefaultTimeout {
				t.Errorf("fail %v: took %v", policy, took)
			}
		}
	})
}

func TestErrorDetails(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		limiter.Before("Check", func(context.Context, proto.Message) error {
			st, err := status.New(codes.InvalidArgument, "/key is 257 bytes long").WithDetails(
				&errdetails.ErrorInfo{Reason: "VALIDATION_ERROR", Domain: "sluice"},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(700 * time.Millisecond)},
			)
			if err != nil {
				return err
			}
			return st.Err()
		})
		_, err := newClient(t, limiter).Check(client.WithRequestID(t.Context(), "req-7"), client.CheckRequest{Key: "k"})
		var e *client.Error
		if !errors.As(err, &e) {
			t.Fatalf("%T is no *client.Error", err)
		}
		if e.Code != contract.ValidationError || e.GRPC != codes.InvalidArgument || e.Message != "/key is 257 bytes long" ||
			e.RetryAfter != 700*time.Millisecond || e.RequestID != "req-7" {
			t.Errorf("%+v", *e)
		}
		if s := e.Error(); !strings.Contains(s, "validation_error") || !strings.Contains(s, "req-7") {
			t.Errorf("Error() = %q", s)
		}
	})
}

// A reason of another domain, or one that is not of the contract, is not a code.
func TestErrorInfoOfOthers(t *testing.T) {
	for _, info := range []*errdetails.ErrorInfo{
		{Reason: "FORBIDDEN", Domain: "mesh.example.com"},
		{Reason: "MADE_UP", Domain: "sluice"},
	} {
		bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
			limiter.Before("Check", func(context.Context, proto.Message) error {
				st, _ := status.New(codes.Unavailable, "no").WithDetails(info)
				return st.Err()
			})
			_, err := newClient(t, limiter).Check(t.Context(), client.CheckRequest{Key: "k"})
			var e *client.Error
			if !errors.As(err, &e) || e.Code != contract.ServiceUnavailable {
				t.Errorf("%v: %v, want service_unavailable", info, err)
			}
		})
	}
}

func TestOutageIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, limiter *fakelimiter.Limiter) {
		var log bytes.Buffer
		c := newClient(t, limiter, client.WithPolicy(client.FailOpen),
			client.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		const key = "sk_live_secret"
		limiter.Before("Check", fakelimiter.Fail(codes.Unavailable))
		for range 100 {
			c.Check(t.Context(), client.CheckRequest{Key: key})
			pass(100 * time.Millisecond)
		}
		limiter.Before("Check", nil)
		for range 100 {
			c.Check(t.Context(), client.CheckRequest{Key: key})
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "does not decide") || !strings.Contains(lines[1], "undecided=100") {
			t.Errorf("the log of one outage:\n%s", log.String())
		}
		if strings.Contains(log.String(), key) {
			t.Error("the log shows a key")
		}
	})
}

func TestOptionsAreValidated(t *testing.T) {
	for name, opt := range map[string]client.Option{
		"WithTimeout": client.WithTimeout(0),
		"WithPolicy":  client.WithPolicy(7),
	} {
		if _, err := client.New("127.0.0.1:1", opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
}
