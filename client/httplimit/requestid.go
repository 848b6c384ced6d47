package httplimit

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/contract"
)

// EnsureRequestID gives the request an id and returns the request that has it:
// in its X-Request-Id header, in its context (client.RequestID reads it, and
// calls of the limiter carry it), and in the header of the response. A valid id
// that came with the request is kept, any other replaced by 128 random bits in
// hexadecimal.
func EnsureRequestID(w http.ResponseWriter, r *http.Request) *http.Request {
	id := r.Header.Get(contract.HeaderRequestID)
	if !contract.ValidRequestID(id) {
		var b [16]byte
		rand.Read(b[:]) // never fails
		id = hex.EncodeToString(b[:])
	}
	w.Header().Set(contract.HeaderRequestID, id)
	// The caller's header is not ours to change.
	r2 := r.WithContext(client.WithRequestID(r.Context(), id))
	r2.Header = r.Header.Clone()
	r2.Header.Set(contract.HeaderRequestID, id)
	return r2
}
