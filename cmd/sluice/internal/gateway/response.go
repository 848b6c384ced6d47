package gateway

import (
	"net/http"
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
	decided   time.Time // what rateLimit is counted from
	status    int       // 0 until the final response has begun
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
	removeLease(h)
	h.Del(contract.HeaderLimit)
	h.Del(contract.HeaderRemaining)
	h.Del(contract.HeaderReset)
	h.Del(contract.HeaderRequestID)
}

// removeLease removes LeaseHeader, also with underscores for hyphens: many
// upstreams take the two for the same name.
func removeLease(h http.Header) {
	for name := range h {
		if len(name) == len(LeaseHeader) && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), LeaseHeader) {
			delete(h, name)
		}
	}
}
