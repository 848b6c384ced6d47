package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

var grpcMaxReceive = grpc.MaxCallRecvMsgSize(64 << 20)

type checkStreamClient = grpc.BidiStreamingClient[sluicev1.CheckStreamRequest, sluicev1.CheckStreamResponse]

func (r *rig) stream(t *testing.T, ctx context.Context) checkStreamClient {
	t.Helper()
	s, err := r.CheckStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sendBatch(t *testing.T, s checkStreamClient, req *sluicev1.CheckStreamRequest) {
	t.Helper()
	if err := s.Send(req); err != nil {
		t.Fatal(err)
	}
}

// TestStream sends many batches without waiting, and gets each answered once.
func TestStream(t *testing.T) {
	r := serve(t, small)
	s := r.stream(t, metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine"))
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 1 << 63, Checks: batchOfEight})
	resp, err := s.Recv()
	if err != nil || resp.GetSequence() != 1<<63 {
		t.Fatalf("%v, %v", resp, err)
	}
	checkEight(t, resp.GetResults())
	if h, err := s.Header(); err != nil || len(h.Get("x-request-id")) != 1 || h.Get("x-request-id")[0] != "mine" {
		t.Errorf("header %v, %v", h, err)
	}

	const batches = 300
	go func() {
		for i := range uint64(batches) {
			checks := make([]*sluicev1.CheckRequest, i%5)
			for j := range checks {
				checks[j] = &sluicev1.CheckRequest{Key: "stream"}
			}
			if s.Send(&sluicev1.CheckStreamRequest{Sequence: i, TimeoutMs: 600_000, Checks: checks}) != nil {
				return // Recv below says why
			}
		}
		_ = s.CloseSend()
	}()
	seen := make(map[uint64]bool)
	allowed := 0
	for range batches {
		resp, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if n := resp.GetSequence(); seen[n] || n >= batches || len(resp.GetResults()) != int(n%5) {
			t.Fatalf("sequence %d with %d results", n, len(resp.GetResults()))
		}
		seen[resp.GetSequence()] = true
		for _, result := range resp.GetResults() {
			if result.GetDecision().GetAllowed() {
				allowed++
			}
		}
	}
	if allowed != 3 {
		t.Errorf("%d allowed, want 3", allowed)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unknown || err.Error() != "EOF" {
		t.Errorf("after the last: %v, want EOF", err)
	}
}

// TestStreamError holds that what is wrong with a batch as a whole ends the stream, after
// the batches before it were answered.
func TestStreamError(t *testing.T) {
	r := serve(t, small)
	s := r.stream(t, t.Context())
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 1, Checks: []*sluicev1.CheckRequest{{Key: "k"}}})
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 2, TimeoutMs: 600_001, Checks: []*sluicev1.CheckRequest{{Key: "k"}}})
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 3, Checks: []*sluicev1.CheckRequest{{Key: "k"}}})
	if resp, err := s.Recv(); err != nil || resp.GetSequence() != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	_, err := s.Recv()
	tooLarge("/timeout_ms", "timeout_ms").check(t, err)
	if ids := s.Trailer().Get("x-request-id"); len(ids) != 1 || ids[0] == "" {
		t.Errorf("the trailer's request ids are %q", ids)
	}
	if n := r.check(t, &sluicev1.CheckRequest{Key: "k"}).GetRemaining(); n != 1 {
		t.Errorf("remaining %d: other batches than the first were counted", n)
	}
}

func TestShutdownEndsIdleStream(t *testing.T) {
	r := serve(t, small)
	s := r.stream(t, t.Context())
	sendBatch(t, s, &sluicev1.CheckStreamRequest{})
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	_, err := s.Recv()
	notNow.check(t, err)
}

// TestShutdownAnswersBatch holds that a batch that is being decided is answered first.
func TestShutdownAnswersBatch(t *testing.T) {
	r := serve(t, small)
	s := r.stream(t, t.Context())
	idle := r.stream(t, t.Context())
	if err := idle.Send(&sluicev1.CheckStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Recv(); err != nil {
		t.Fatal(err)
	}
	held, release := r.clock.hold()
	defer release()
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 7, Checks: []*sluicev1.CheckRequest{{Key: "k"}}})
	sendBatch(t, s, &sluicev1.CheckStreamRequest{Sequence: 8, Checks: []*sluicev1.CheckRequest{{Key: "k"}}})
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- r.server.Shutdown(ctx) }()
	_, err := idle.Recv() // the server knows by now
	notNow.check(t, err)
	release()
	if resp, err := s.Recv(); err != nil || resp.GetSequence() != 7 || !resp.GetResults()[0].GetDecision().GetAllowed() {
		t.Fatalf("the batch under way: %v, %v", resp, err)
	}
	// The one behind it may have begun before the end was seen.
	resp, err := s.Recv()
	if err == nil && resp.GetSequence() == 8 {
		_, err = s.Recv()
	}
	notNow.check(t, err)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
