package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A tap logs every try of a Go client, below all that the client does of its own: what is
// sent again, what is sent to two nodes, and answers that come when nobody waits any more.
type tap struct{ *desk }

func (t *tap) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	if err != nil || method != sluicev1.RateLimiterService_CheckStream_FullMethodName {
		return s, err
	}
	return &tapped{ClientStream: s, tap: t, node: conn.Target(), open: map[uint64][]int{}}, nil
}

func (t *tap) unary(ctx context.Context, method string, req, resp any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var tries []int
	switch r := req.(type) {
	case *sluicev1.CheckRequest:
		tries = t.send(conn.Target(), r)
	case *sluicev1.CheckBatchRequest:
		tries = t.send(conn.Target(), r.GetChecks()...)
	}
	err := call(ctx, method, req, resp, conn, opts...)
	if err != nil && ctx.Err() != nil {
		return err // no answer came
	}
	switch r := resp.(type) {
	case *sluicev1.CheckResponse:
		outcome, degraded := told(r.GetDecision())
		t.log.Answer(tries[0], outcome, degraded)
	case *sluicev1.CheckBatchResponse:
		t.answer(tries, r.GetResults())
	}
	return err
}

func (t *tap) send(node string, checks ...*sluicev1.CheckRequest) (tries []int) {
	for _, c := range checks {
		units := uint32(1)
		if c.Cost != nil {
			units = c.GetCost()
		}
		tries = append(tries, t.log.Send(t.keys.number[c.GetKey()], node, units))
	}
	return tries
}

func (t *tap) answer(tries []int, results []*sluicev1.CheckResult) {
	if len(results) != len(tries) {
		return
	}
	for i, r := range results {
		outcome, degraded := told(r.GetDecision())
		t.log.Answer(tries[i], outcome, degraded)
	}
}

// tapped is a stream of checks. One goroutine sends, another receives.
type tapped struct {
	grpc.ClientStream
	tap  *tap
	node string

	mu   sync.Mutex // guards open
	open map[uint64][]int
}

func (s *tapped) SendMsg(m any) error {
	if req, ok := m.(*sluicev1.CheckStreamRequest); ok {
		tries := s.tap.send(s.node, req.GetChecks()...)
		s.mu.Lock()
		s.open[req.GetSequence()] = tries
		s.mu.Unlock()
	}
	return s.ClientStream.SendMsg(m)
}

func (s *tapped) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	if resp, ok := m.(*sluicev1.CheckStreamResponse); ok {
		s.mu.Lock()
		tries := s.open[resp.GetSequence()]
		delete(s.open, resp.GetSequence())
		s.mu.Unlock()
		s.tap.answer(tries, resp.GetResults())
	}
	return nil
}
