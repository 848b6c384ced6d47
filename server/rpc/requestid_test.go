package rpc

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// requestIDOf calls Check with those request ids and returns the one that came back.
func requestIDOf(t *testing.T, r *rig, req *sluicev1.CheckRequest, sent ...string) string {
	t.Helper()
	ctx := t.Context()
	for _, id := range sent {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", id)
	}
	var header metadata.MD
	_, err := r.Check(ctx, req, grpc.Header(&header))
	if (err == nil) != (req.GetKey() != "") {
		t.Fatalf("Check: %v", err)
	}
	switch ids := header.Get("x-request-id"); len(ids) {
	case 0:
		return ""
	case 1:
		return ids[0]
	default:
		t.Fatalf("request ids %q", ids)
		return ""
	}
}

func TestRequestID(t *testing.T) {
	r := serve(t, small)
	good, bad := &sluicev1.CheckRequest{Key: "k"}, &sluicev1.CheckRequest{}

	for _, id := range []string{"a", "A-z_0.9", strings.Repeat("x", 128)} {
		if got := requestIDOf(t, r, good, id); got != id {
			t.Errorf("sent %q, got back %q", id, got)
		}
		if got := requestIDOf(t, r, bad, id); got != id {
			t.Errorf("sent %q with a bad request, got back %q", id, got)
		}
		if !strings.Contains(r.log.String(), "request_id="+id) {
			t.Errorf("the failure of %q was not logged under it", id)
		}
	}
	if got := requestIDOf(t, r, good); got != "" {
		t.Errorf("sent none and succeeded, got %q", got)
	}
	seen := make(map[string]bool)
	fresh := func(what, id string) {
		if !contract.ValidRequestID(id) || seen[id] {
			t.Errorf("%s: got back %q, want a fresh one", what, id)
		}
		seen[id] = true
	}
	for range 2 {
		fresh("failed", requestIDOf(t, r, bad))
	}
	for _, hostile := range []string{"", " ", "a b", strings.Repeat("x", 129), `a";drop`, "a\\nb", "a/../b", "<script>"} {
		seen[hostile] = true
		fresh(hostile, requestIDOf(t, r, good, hostile))
		fresh(hostile, requestIDOf(t, r, bad, hostile))
	}
	if got := requestIDOf(t, r, good, "first", "second"); got != "first" {
		t.Errorf("sent two, got back %q", got)
	}
	for _, line := range strings.Split(r.log.String(), "\n") {
		if strings.Contains(line, "drop") || strings.Contains(line, "script") {
			t.Errorf("the log has a hostile id: %s", line)
		}
	}
}

// A request id that tells the key is none: it would be logged, kept with a lease and told to operators.
func TestRequestIDThatTellsTheKey(t *testing.T) {
	r := serve(t, small)
	const key = "sk_live_0123456789"
	for _, id := range []string{key, "of-" + key} {
		for range 2 { // the tier's limit: then it is denied, which is logged
			if got := requestIDOf(t, r, &sluicev1.CheckRequest{Key: key, Cost: proto.Uint32(1)}, id); got == "" || strings.Contains(got, key) {
				t.Errorf("sent %q, got back %q", id, got)
			}
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id)
		if _, err := r.Acquire(ctx, &sluicev1.AcquireRequest{Key: key, RunId: "r", TtlMs: 1}); err == nil {
			t.Error("a lease of a millisecond was granted: not what is to be tested")
		}
	}
	stream := r.stream(t, metadata.AppendToOutgoingContext(t.Context(), "x-request-id", key))
	sendBatch(t, stream, &sluicev1.CheckStreamRequest{Checks: []*sluicev1.CheckRequest{{Key: key}}})
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	sendBatch(t, stream, &sluicev1.CheckStreamRequest{Checks: []*sluicev1.CheckRequest{{Key: "other"}}, TimeoutMs: maxStreamTimeout + 1})
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on: not what is to be tested")
	}
	if text := r.log.String(); strings.Contains(text, key) || !strings.Contains(text, "method=CheckStream") {
		t.Errorf("the log tells the key, or not of the stream: %s", text)
	}
}

// TestRequestIDOfBytes has the ids that grpc's client does not send.
func TestRequestIDOfBytes(t *testing.T) {
	for _, hostile := range []string{"a\nlevel=ERROR", "a\r\nx: y", "\x00", "ä", "\xff\xfe", "a\u2028b"} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("x-request-id", hostile))
		c := newCall(ctx, "Check")
		if id := c.requestID(); !c.sent || !contract.ValidRequestID(id) || id != c.requestID() {
			t.Errorf("sent %q, became %q", hostile, id)
		}
	}
}

// A stream that ended before it was answered once told its request id twice.
func TestStreamTellsRequestIDOnce(t *testing.T) {
	r := serve(t, small)
	stream := r.stream(t, metadata.AppendToOutgoingContext(t.Context(), requestIDKey, "abc"))
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	header, err := stream.Header()
	if err != nil {
		t.Fatal(err)
	}
	if ids := append(header.Get(requestIDKey), stream.Trailer().Get(requestIDKey)...); len(ids) != 1 || ids[0] != "abc" {
		t.Errorf("told %q", ids)
	}
}
