package rpc

import (
	"context"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/metrics"
)

// Local is the service for other faces of the same process. What it answers, counts, logs and
// refuses is what gateways get that call it over gRPC, but that it does not name a field whose text
// is not UTF-8. The request id is that of the incoming metadata of ctx.
type Local struct{ service *service }

// Local returns the service without a socket in between. It goes on answering until the process
// ends.
func (s *Server) Local() Local { return Local{s.service} }

// Check decides one request.
func (l Local) Check(ctx context.Context, req *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	resp := new(sluicev1.CheckResponse)
	return resp, local(ctx, l.service, metrics.Check, (*service).check, req, resp)
}

// CheckBatch decides many requests.
func (l Local) CheckBatch(ctx context.Context, req *sluicev1.CheckBatchRequest) (*sluicev1.CheckBatchResponse, error) {
	resp := new(sluicev1.CheckBatchResponse)
	return resp, local(ctx, l.service, metrics.CheckBatch, (*service).checkBatch, req, resp)
}

// Acquire takes a slot for a run.
func (l Local) Acquire(ctx context.Context, req *sluicev1.AcquireRequest) (*sluicev1.AcquireResponse, error) {
	resp := new(sluicev1.AcquireResponse)
	return resp, local(ctx, l.service, metrics.Acquire, onMessage((*service).acquire), req, resp)
}

// Renew extends leases.
func (l Local) Renew(ctx context.Context, req *sluicev1.RenewRequest) (*sluicev1.RenewResponse, error) {
	resp := new(sluicev1.RenewResponse)
	return resp, local(ctx, l.service, metrics.Renew, onMessage((*service).renew), req, resp)
}

// Release ends a lease.
func (l Local) Release(ctx context.Context, req *sluicev1.ReleaseRequest) (*sluicev1.ReleaseResponse, error) {
	resp := new(sluicev1.ReleaseResponse)
	return resp, local(ctx, l.service, metrics.Release, onMessage((*service).release), req, resp)
}

// local calls a method with a request that goes through its bytes, as if it had come over gRPC:
// there is one way to decide. Those bytes are wiped afterwards; req is its caller's.
func local[I any, P request[I], R any](
	ctx context.Context, s *service, method metrics.Method, handle func(*service, *call, P) (R, error), req, resp proto.Message,
) error {
	decode := func(in any) error {
		to := in.(receiver)
		if b, err := proto.Marshal(req); err == nil {
			to.receive(mem.SliceBuffer(b))
		} else {
			clear(b) // what was written by then
			to.refuse(badRequest(contract.InvalidRequest, "/", "", "has text that is not valid UTF-8"))
		}
		return nil
	}
	answer, err := unary(method, handle).Handler(s, ctx, decode, nil)
	if err != nil {
		return err
	}
	switch answer := answer.(type) {
	case mem.Buffer:
		defer answer.Free()
		return proto.Unmarshal(answer.ReadOnlyData(), resp)
	case proto.Message:
		proto.Merge(resp, answer)
	}
	return nil
}
