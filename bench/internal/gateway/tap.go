package gateway

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A tap logs every try of a Go client, below all that the client does of its own: what is
// sent again, what is sent to two nodes, and answers that come when nobody waits any more.
type tap struct{ *Desk }

func (t *tap) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if method == sluicev1.RateLimiterService_CheckStream_FullMethodName {
		opts = slices.Clone(opts)
		for i, o := range opts {
			if of, ok := o.(grpc.ForceCodecV2CallOption); ok { // its messages are the client's own: only as bytes they are known
				opts[i] = grpc.ForceCodecV2(&tapped{CodecV2: of.CodecV2, tap: t, node: conn.Target(), open: map[uint64][]int{}})
			}
		}
	}
	return open(ctx, desc, conn, method, opts...)
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
		t.Log.Answer(tries[0], outcome, degraded)
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
		tries = append(tries, t.Log.Send(t.Keys.Number[c.GetKey()], node, units))
	}
	return tries
}

func (t *tap) answer(tries []int, results []*sluicev1.CheckResult) {
	if len(results) != len(tries) {
		return
	}
	for i, r := range results {
		outcome, degraded := told(r.GetDecision())
		t.Log.Answer(tries[i], outcome, degraded)
	}
}

// tapped is the codec of one stream of checks, and reads what is on the wire. One goroutine
// sends, another receives.
type tapped struct {
	encoding.CodecV2
	tap  *tap
	node string

	mu   sync.Mutex // guards open
	open map[uint64][]int
}

func (s *tapped) Marshal(m any) (mem.BufferSlice, error) {
	data, err := s.CodecV2.Marshal(m)
	if err != nil {
		return nil, err
	}
	req := new(sluicev1.CheckStreamRequest)
	if err := proto.Unmarshal(data.Materialize(), req); err != nil {
		return nil, err
	}
	tries := s.tap.send(s.node, req.GetChecks()...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[req.GetSequence()] = tries
	return data, nil
}

func (s *tapped) Unmarshal(data mem.BufferSlice, m any) error {
	resp := new(sluicev1.CheckStreamResponse)
	if err := proto.Unmarshal(data.Materialize(), resp); err != nil {
		return err
	}
	s.mu.Lock()
	tries := s.open[resp.GetSequence()]
	delete(s.open, resp.GetSequence())
	s.mu.Unlock()
	s.tap.answer(tries, resp.GetResults())
	return s.CodecV2.Unmarshal(data, m)
}
