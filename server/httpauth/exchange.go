package httpauth

import (
	"context"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"runtime/debug"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter/contract"
)

// TokenHeader is where a trusted caller shows its token.
const TokenHeader = "X-Sluice-Token" //nolint:gosec // the name of a header

// around is around every request: it has a request id, which the limiter gets and the caller is
// told, nothing is cached, and a panic becomes an error.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = identify(w, r, shownKey(r.Header))
		w.Header().Set("Cache-Control", "no-store")
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error("panic", "path", r.URL.Path, "request_id", w.Header().Get(contract.HeaderRequestID), "panic", p, "stack", string(debug.Stack()))
				contract.WriteError(w, contract.Error{Code: contract.InternalError})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// identify gives a request that asks about a key its id: the caller's own, unless that is not valid or
// holds the key, which no log may tell.
func identify(w http.ResponseWriter, r *http.Request, key string) *http.Request {
	id := w.Header().Get(contract.HeaderRequestID) // if it has one already
	if id == "" {
		id = r.Header.Get(contract.HeaderRequestID)
	}
	if !contract.ValidRequestID(id) || contract.TellsKey(id, key) {
		id = rand.Text()
	}
	w.Header().Set(contract.HeaderRequestID, id)
	return r.WithContext(metadata.NewIncomingContext(r.Context(), passedOn(r.Header, id)))
}

// inTime bounds the time to decide what a request's headers ask.
func inTime(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), decideTime)
		defer cancel()
		next(w, r.WithContext(ctx))
	}
}

// passedOn is the metadata that the limiter gets of a request: its id, and the trace that it
// belongs to.
func passedOn(h http.Header, id string) metadata.MD {
	md := metadata.Pairs("x-request-id", id)
	if parent := h.Get("Traceparent"); parent != "" {
		md.Set("traceparent", parent)
		if state := h.Get("Tracestate"); state != "" {
			md.Set("tracestate", state)
		}
	}
	return md
}

// trusted tells whether the caller shows one of the tokens.
func (s *Server) trusted(r *http.Request) bool {
	return s.Tokens != nil && s.Tokens.Knows(r.Header.Get(TokenHeader))
}

// failure returns what is told when a call of the limiter failed, by the code in its details, and
// logs what is not the caller's.
func (s *Server) failure(w http.ResponseWriter, err error) contract.Error {
	st := status.Convert(err)
	e := contract.Error{Code: contract.InternalError}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "sluice" {
			e.Code = contract.Code(strings.ToLower(info.GetReason()))
		}
	}
	switch e.Code {
	case contract.ServiceUnavailable:
		contract.SetRetryAfter(w.Header(), contract.UnavailableRetryAfter(mathrand.Float64()))
	case contract.InternalError:
		if st.Code() == codes.DeadlineExceeded || st.Code() == codes.Canceled {
			e.Code = contract.ServiceUnavailable
			break
		}
		s.Log.LogAttrs(context.Background(), slog.LevelError, "call failed",
			slog.String("request_id", w.Header().Get(contract.HeaderRequestID)), slog.String("error", st.Message()))
	default:
		e.Message = st.Message()
	}
	return e
}
