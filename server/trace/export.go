package trace

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// complainEvery is how often the log tells that spans cannot be sent.
const complainEvery = time.Minute

// An exporter sends spans to another, and keeps what goes wrong for the node's log: the SDK would
// write each failure to standard error.
type exporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	now  func() time.Time
	over context.Context // ends what is under way
	stop context.CancelFunc

	next atomic.Int64 // Unix nanoseconds: no complaint before
	lost atomic.Int64 // spans, since the last complaint
}

func newExporter(to sdktrace.SpanExporter, log *slog.Logger) *exporter {
	e := &exporter{SpanExporter: to, log: log, now: time.Now}
	e.over, e.stop = context.WithCancel(context.Background())
	return e
}

// ExportSpans sends a batch. It never fails: what could not be sent is lost.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.over, cancel)()
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.complain(err, len(spans))
	}
	return nil
}

// Shutdown ends the exporter.
func (e *exporter) Shutdown(ctx context.Context) error {
	defer e.stop()
	return e.SpanExporter.Shutdown(ctx)
}

func (e *exporter) complain(err error, spans int) {
	lost := e.lost.Add(int64(spans))
	now, next := e.now().UnixNano(), e.next.Load()
	if now < next || !e.next.CompareAndSwap(next, now+int64(complainEvery)) {
		return
	}
	e.lost.Add(-lost)
	e.log.Warn("spans could not be sent and are lost", "spans", lost, "error", err.Error())
}
