// Package securehttp lets a server of HTTP go by a guard of package secure. gRPC that is
// served over it is refused as gRPC is.
package securehttp

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/securerpc"
)

type callerKey struct{}

// Protect lets s go by g, which may be nil: then it is as it was. open are paths that tell
// nothing of callers, and answer whoever gets so far. It must be called before Serve.
func Protect(s *http.Server, g *secure.Guard, open ...string) {
	if g == nil {
		return
	}
	s.TLSConfig = g.TLS()
	if !g.Authenticated() {
		return
	}
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, callerKey{}, g.Caller())
	}
	s.Handler = admit(s.Handler, open)
}

// Serve serves a server that may be protected, until it is shut down: it returns nil then.
func Serve(s *http.Server, lis net.Listener) error {
	serve := func() error { return s.Serve(lis) }
	if s.TLSConfig != nil {
		serve = func() error { return s.ServeTLS(lis, "", "") }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// admit hands over what may be asked, and refuses the rest.
func admit(next http.Handler, open []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range open {
			if r.URL.Path == path {
				next.ServeHTTP(w, r)
				return
			}
		}
		c, ok := r.Context().Value(callerKey{}).(*secure.Caller)
		err := secure.ErrUnknown
		if ok {
			err = c.Check(r.TLS, token(r.Header))
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func token(h http.Header) string {
	if values := h["Authorization"]; len(values) == 1 {
		return secure.Bearer(values[0])
	}
	return ""
}

// refuse tells a caller that it may not ask.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		refuseRPC(w, status.Convert(securerpc.Denial(err)))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if errors.Is(err, secure.ErrForbidden) {
		contract.WriteError(w, contract.Error{Code: contract.Forbidden})
		return
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	contract.WriteError(w, contract.Error{Code: contract.InvalidAPIKey})
}

// refuseRPC ends a call of gRPC with a status.
func refuseRPC(w http.ResponseWriter, st *status.Status) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(int(st.Code())))
	h.Set("Grpc-Message", st.Message())
	if details, err := proto.Marshal(st.Proto()); err == nil {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
	w.WriteHeader(http.StatusOK)
}
