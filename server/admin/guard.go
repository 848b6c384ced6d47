package admin

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

	"github.com/overten/sluice/limiter/contract"
)

const requestIDKey = "x-request-id"

// guard is around every call: a panic becomes an error, and a failure is logged under the
// request id that its caller is told.
type guard struct{ log *slog.Logger }

func (g guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	id, sent := requestID(ctx)
	defer func() {
		if p := recover(); p != nil {
			g.log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("method", info.FullMethod), slog.String("request_id", id),
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			resp, err = nil, internal(id)
		}
		if err != nil || sent {
			_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDKey, id))
		}
		if err != nil {
			level := slog.LevelDebug // what callers do wrong, and what passes
			if status.Code(err) == codes.Internal {
				level = slog.LevelError
			}
			g.log.LogAttrs(ctx, level, "call failed", slog.String("method", info.FullMethod), slog.String("request_id", id),
				slog.String("code", status.Code(err).String()), slog.String("error", status.Convert(err).Message()))
		}
	}()
	return handle(ctx, req)
}

// requestID returns the caller's request id, or one of our own if it sent none that is
// valid, and whether it sent any.
func requestID(ctx context.Context) (id string, sent bool) {
	ids := metadata.ValueFromIncomingContext(ctx, requestIDKey)
	if len(ids) > 0 && contract.ValidRequestID(ids[0]) {
		return ids[0], true
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]), len(ids) > 0
}
