package httplimit

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"

	"github.com/overten/sluice/client"
)

type leaseContextKey struct{}

// LeaseFromContext returns the lease of the run that a handler serves: to hand
// its ID to a worker, or to see it Lost. It is nil, and its methods do nothing,
// if the request is not a run or passed without a decision.
func LeaseFromContext(ctx context.Context) *client.Lease {
	l, _ := ctx.Value(leaseContextKey{}).(*client.Lease)
	return l
}

// Finish ends a run's part in a request that was answered with status: after
// 202 the work goes on, and the lease is detached for the worker that does it;
// else the slot is freed. Neither waits longer than one call of the limiter,
// and both are done even if ctx was canceled. The error is for the log: the
// client goes on trying, and at worst the lease expires.
func Finish(ctx context.Context, lease *client.Lease, status int) error {
	if status == http.StatusAccepted {
		return lease.Detach(ctx)
	}
	return lease.Release(ctx)
}

// newRunID makes a run's name from its request's id, so that support finds the one by
// the other. A client may send the same request id twice: these are two runs.
func newRunID(r *http.Request) string {
	return client.RequestID(r.Context()) + "-" + rand.Text()
}

// A statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 until the response has begun
}

// Unwrap lets http.ResponseController reach what the wrapped writer can do.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets io.Copy use what the wrapped writer has for it.
func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, r)
}

// Flush is for handlers that look for an http.Flusher instead of using
// http.ResponseController. It does nothing if the wrapped writer cannot flush.
func (w *statusWriter) Flush() {
	if http.NewResponseController(w.ResponseWriter).Flush() == nil {
		w.begin()
	}
}

func (w *statusWriter) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}
