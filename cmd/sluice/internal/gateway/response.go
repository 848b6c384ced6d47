package gateway

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/overten/sluice/limiter/contract"
)

// A response writes to the client. Whoever writes the answer, it goes out with
// the headers that every response carries, and with no lease id.
type response struct {
	http.ResponseWriter
	requestID string
	rateLimit contract.RateLimit
	decided   time.Time       // what rateLimit is counted from
	status    int             // 0 until the final response has begun
	upload    *upload         // of a request that was passed on; nil: it has no body
	ctx       context.Context // of the exchange, once it is passed on
}

// Unwrap lets http.ResponseController reach what the client's writer can do.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the response, or sends an informational one before it.
func (w *response) WriteHeader(status int) {
	switch {
	case status < 200:
		strip(w.Header())
	case w.status == 0:
		w.dress()
		if w.upload != nil && !w.upload.complete.Load() {
			// What comes of the upload after the answer must never be read as a request.
			w.Header().Set("Connection", "close")
		}
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Hijack gives up the connection, to be upgraded. It is closed when the exchange
// ends: nothing else would reach a client that stops reading.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(w.ctx, func() { _ = conn.Close() })
	}
	return conn, rw, err
}

// dress replaces what the headers say about limit, request and lease.
func (w *response) dress() {
	h := w.Header()
	strip(h)
	w.rateLimit.Set(h, w.decided)
	h.Set(contract.HeaderRequestID, w.requestID)
	contract.Spell(h)
}

// strip removes the headers that only the gateway may write, but for Retry-After,
// which an upstream's errors have of their own.
func strip(h http.Header) {
	removeSpellings(h, LeaseHeader)
	h.Del(contract.HeaderLimit)
	h.Del(contract.HeaderRemaining)
	h.Del(contract.HeaderReset)
	h.Del(contract.HeaderRequestID)
}

// removeSpellings removes headers, also with underscores for hyphens: many
// upstreams take the two for the same name.
func removeSpellings(h http.Header, names ...string) {
	for spelling := range h {
		plain := strings.ReplaceAll(spelling, "_", "-")
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, plain) }) {
			delete(h, spelling)
		}
	}
}
