package rpc

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

var fromPanic = fault{code: codes.Internal, reason: "INTERNAL_ERROR"}

// TestPanic has a server without a table, so that every decision panics.
func TestPanic(t *testing.T) {
	c, r := newConfig(t, small, limiter.Config{MaxKeys: 1})
	c.Table = nil
	r.serve(t, c)
	check := func(ctx grpc.CallOption) error {
		_, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "the-key"}, ctx)
		return err
	}
	batch := func(o grpc.CallOption) error {
		_, err := r.CheckBatch(t.Context(), &sluicev1.CheckBatchRequest{Checks: []*sluicev1.CheckRequest{{Key: "the-key"}}}, o)
		return err
	}
	acquire := func(o grpc.CallOption) error {
		_, err := r.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: "the-key", RunId: "r", TtlMs: 1000}, o)
		return err
	}
	stream := func(o grpc.CallOption) error {
		s, err := r.CheckStream(t.Context(), o)
		if err != nil {
			return err
		}
		sendBatch(t, s, &sluicev1.CheckStreamRequest{Checks: []*sluicev1.CheckRequest{{Key: "the-key"}}})
		_, err = s.Recv()
		return err
	}
	for method, call := range map[string]func(grpc.CallOption) error{
		"Check": check, "CheckBatch": batch, "Acquire": acquire, "CheckStream": stream,
	} {
		t.Run(method, func(t *testing.T) {
			var header metadata.MD
			err := call(grpc.Header(&header))
			fromPanic.check(t, err)
			ids := header.Get("x-request-id")
			if len(ids) != 1 {
				t.Fatalf("request ids %q", ids)
			}
			message := status.Convert(err).Message()
			if !strings.Contains(message, ids[0]) || regexp.MustCompile(`goroutine|\.go|nil pointer`).MatchString(message) {
				t.Errorf("message %q", message)
			}
			logged := regexp.MustCompile(`msg=panic method=` + method + ` request_id=` + ids[0] + ` .*nil pointer.*stack=.*goroutine.*rpc\.\(\*service\)`)
			if log := r.log.String(); !logged.MatchString(log) || strings.Contains(log, "the-key") {
				t.Errorf("the log is %s", log)
			}
		})
	}
	// It lives on.
	_, err := r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: "x"})
	notFound.check(t, err)
}
