package fakelimiter

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Node is one server of a Limiter.
type Node struct {
	// Address to dial; empty unless it is one of a Cluster.
	Address string

	limiter *Limiter
	place   int
	server  *grpc.Server
	serving sync.WaitGroup
	leaving chan struct{} // closed when streams are to end
	leave   func()

	mu   sync.Mutex
	hung chan struct{} // closed when the node wakes; nil: it is awake
}

func newNode(f *Limiter, place int, opts ...grpc.ServerOption) *Node {
	n := &Node{limiter: f, place: place, leaving: make(chan struct{})}
	n.leave = sync.OnceFunc(func() { close(n.leaving) })
	n.server = grpc.NewServer(append([]grpc.ServerOption{
		grpc.WaitForHandlers(true), // so that nothing outlives a test
		grpc.UnaryInterceptor(n.intercept), grpc.MaxRecvMsgSize(64 << 20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}, opts...)...)
	sluicev1.RegisterRateLimiterServiceServer(n.server, &service{f, n})
	return n
}

func (n *Node) serve(l net.Listener) {
	n.serving.Go(func() { _ = n.server.Serve(l) })
}

// Stop ends the node at once: connections break, and new ones are refused.
func (n *Node) Stop() {
	n.Wake()
	n.server.Stop()
	n.serving.Wait()
}

// Leave ends the node as a shutdown does: what it has begun is answered, its
// streams end with UNAVAILABLE, and new connections are refused.
func (n *Node) Leave() {
	n.leave()
	n.server.GracefulStop()
	n.serving.Wait()
}

// Hang stops the node from answering until Wake, with its connections open.
func (n *Node) Hang() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hung == nil {
		n.hung = make(chan struct{})
	}
}

// Wake lets the node answer again, also what came while it hung.
func (n *Node) Wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hung != nil {
		close(n.hung)
		n.hung = nil
	}
}

// awake waits while the node hangs.
func (n *Node) awake(ctx context.Context) error {
	n.mu.Lock()
	hung := n.hung
	n.mu.Unlock()
	if hung == nil {
		return nil
	}
	select {
	case <-hung:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := n.awake(ctx); err != nil {
		return nil, err
	}
	call := Call{
		Method: info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:],
		Node:   n.place, Request: req.(proto.Message),
	}
	if ids := metadata.ValueFromIncomingContext(ctx, "x-request-id"); len(ids) > 0 {
		call.RequestID = strings.Join(ids, ",")
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-request-id", call.RequestID))
	}
	n.limiter.note(call)
	return n.limiter.serve(ctx, call, func() (any, error) { return handle(ctx, req) })
}

// A service is the limiter as one of its nodes serves it.
type service struct {
	*Limiter
	node *Node
}

// CheckStream answers batches as they are ready, each check as Check does. One that
// is lost has no answer, nor have those of its batch.
func (s *service) CheckStream(stream grpc.BidiStreamingServer[sluicev1.CheckStreamRequest, sluicev1.CheckStreamResponse]) error {
	if err := s.hook(stream.Context(), "CheckStream", nil); err != nil {
		return err
	}
	requests := make(chan *sluicev1.CheckStreamRequest)
	ended := make(chan struct{})
	go func() {
		for {
			req, err := stream.Recv()
			if err != nil {
				close(ended)
				return
			}
			select {
			case requests <- req:
			case <-s.node.leaving:
				return
			case <-stream.Context().Done():
				return
			}
		}
	}()
	var (
		batches sync.WaitGroup
		sending sync.Mutex
	)
	defer batches.Wait()
	for {
		select {
		case req := <-requests:
			batches.Go(func() {
				res := s.answer(stream.Context(), req)
				sending.Lock()
				defer sending.Unlock()
				if res != nil {
					_ = stream.Send(res)
				}
			})
		case <-ended:
			return nil
		case <-stream.Context().Done(): // the reader may have left for that
			return nil
		case <-s.node.leaving:
			batches.Wait()
			return status.Error(codes.Unavailable, "the node is shutting down")
		}
	}
}

// answer decides one batch; nil: there is no answer.
func (s *service) answer(ctx context.Context, req *sluicev1.CheckStreamRequest) *sluicev1.CheckStreamResponse {
	if ms := req.GetTimeoutMs(); ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	if s.node.awake(ctx) != nil {
		return nil
	}
	res := &sluicev1.CheckStreamResponse{Sequence: req.GetSequence()}
	calls := make([]Call, len(req.GetChecks()))
	for i, check := range req.GetChecks() { // all have arrived, however long the first of them takes
		calls[i] = Call{Method: "Check", Stream: true, Sequence: req.GetSequence(), Node: s.node.place, Request: check}
		s.note(calls[i])
	}
	for i, check := range req.GetChecks() {
		one, err := s.serve(ctx, calls[i], func() (any, error) { return s.Check(ctx, check) })
		if ctx.Err() != nil {
			return nil
		}
		r := &sluicev1.CheckResult{}
		if err != nil {
			r.Result = &sluicev1.CheckResult_Error{Error: status.Convert(err).Proto()}
		} else {
			r.Result = &sluicev1.CheckResult_Decision{Decision: one.(*sluicev1.CheckResponse).GetDecision()}
		}
		res.Results = append(res.Results, r)
	}
	return res
}
