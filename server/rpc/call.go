package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/server/metrics"
)

const requestIDKey = "x-request-id"

// call is one call of a client: what it needs beside its request.
type call struct {
	counting
	ctx    context.Context
	method string
	sent   bool // the caller sent a request id
	told   bool // the caller was told the request id
}

func newCall(ctx context.Context, method string) call {
	c := call{ctx: ctx, method: method}
	if ids := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(ids) > 0 {
		c.sent = true
		if contract.ValidRequestID(ids[0]) {
			c.id = ids[0]
		}
	}
	return c
}

// requestID returns the caller's request id, or one of our own if it sent none that is
// valid.
func (c *call) requestID() string {
	if c.id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		c.id = hex.EncodeToString(b[:])
	}
	return c.id
}

// tell tells the caller the request id, once: in the header, or behind the answers of a
// stream that has sent its header.
func (c *call) tell() {
	if c.told {
		return
	}
	c.told = true
	id := metadata.Pairs(requestIDKey, c.requestID())
	if grpc.SetHeader(c.ctx, id) != nil {
		_ = grpc.SetTrailer(c.ctx, id)
	}
}

// recovered turns a panic into an error, and logs where it was. To be deferred.
func (c *call) recovered(log *slog.Logger, err *error) {
	if p := recover(); p != nil {
		c.panicked(log, p, err)
	}
}

func (c *call) panicked(log *slog.Logger, p any, err *error) {
	log.LogAttrs(c.ctx, slog.LevelError, "panic",
		slog.String("method", c.method), slog.String("request_id", c.requestID()),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	*err = internal(c.requestID())
}

// finish ends a call: a panic becomes an error, and the request id goes back to who sent
// one or is told an error. To be deferred.
func (c *call) finish(log *slog.Logger, err *error) {
	if p := recover(); p != nil {
		c.panicked(log, p, err)
	}
	if *err == nil && !c.sent {
		return
	}
	c.tell()
	if *err != nil {
		log.LogAttrs(c.ctx, levelOf(*err), "call failed",
			slog.String("method", c.method), slog.String("request_id", c.requestID()),
			slog.String("code", status.Code(*err).String()), slog.String("error", status.Convert(*err).Message()))
	}
}

// levelOf keeps what callers do wrong out of an operator's log unless asked for.
func levelOf(err error) slog.Level {
	if status.Code(err) == codes.Internal {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// request is a pointer to what the codec makes of a request.
type request[I any] interface {
	*I
	receiver
	fault() error // why it could not be parsed
	wipe()
}

// unary makes a method of the service from a handler of ours. It takes the place of the
// generated one, so that requests that do not parse reach the handler's side, and are
// wiped when the call is over.
func unary[I any, P request[I], R any](method metrics.Method, handle func(*service, *call, P) (R, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: method.String(),
		Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (_ any, err error) {
			s := srv.(*service)
			in := P(new(I))
			if err := dec(in); err != nil {
				return nil, err
			}
			c := newCall(ctx, method.String())
			c.counting = s.begin(method, c.id)
			if s.tracer != nil {
				c.span = s.tracer.Begin(ctx, c.method)
			}
			defer func() { c.end(err) }()
			defer c.finish(s.log, &err)
			defer in.wipe()
			if err := in.fault(); err != nil {
				return nil, err
			}
			return handle(s, &c, in)
		},
	}
}

// onMessage makes a handler of requests that are protobuf messages.
func onMessage[M any, P message[M], R proto.Message](handle func(*service, *call, P) (R, error)) func(*service, *call, *inbound[M, P]) (R, error) {
	return func(s *service, c *call, in *inbound[M, P]) (R, error) { return handle(s, c, &in.msg) }
}
