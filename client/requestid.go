package client

import (
	"context"

	"github.com/overten/sluice/limiter/contract"
)

// requestIDKey is the metadata key of request ids.
const requestIDKey = "x-request-id"

type requestIDContextKey struct{}

// WithRequestID returns a context whose calls carry id, so that the limiter
// logs them under it. An id that is not 1 to 128 characters of A-Z, a-z, 0-9,
// dot, underscore and hyphen is dropped: the limiter then makes one of its own.
func WithRequestID(ctx context.Context, id string) context.Context {
	if !contract.ValidRequestID(id) {
		return ctx
	}
	return context.WithValue(ctx, requestIDContextKey{}, id)
}

// RequestID returns the request id of ctx, or "" if it has none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDContextKey{}).(string)
	return id
}
