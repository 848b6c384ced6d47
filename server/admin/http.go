package admin

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/overten/sluice/server/admin/statusz"
)

// either hands calls of gRPC to gRPC, and all others to pages.
func (s *Server) either(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isRPC(r) {
			s.grpc.ServeHTTP(w, r)
			return
		}
		// A profile takes as long as it is told to: it holds up no shutdown.
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.draining, cancel)()
		pages.ServeHTTP(w, r.WithContext(ctx))
	})
}

func isRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// timely gives a body that long to arrive, whoever sends it: net/http reads also what no handler
// asks for, and who stalls would otherwise keep the connection for ever. Without a body there is
// no deadline, as it would end the request when it passes; and the streams of gRPC last longer.
func timely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody && !isRPC(r) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // never fails: w is the server's
		}
		next.ServeHTTP(w, r)
	})
}

// pages serves what is asked for by plain HTTP.
func (s *Server) pages(c *Config, g guard) http.Handler {
	mux := http.NewServeMux()
	if c.Metrics != nil {
		mux.Handle("GET /metrics", c.Metrics)
	}
	if c.Page != nil {
		mux.Handle(statusz.Path, g.page(statusz.New(guarded{s.service, g}, *c.Page, c.Log)))
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", readyz(c.NotReady))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// readyz answers with 503 and the reason while calls should go to other nodes.
func readyz(notReady func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if notReady != nil {
			if why := notReady(); why != "" {
				http.Error(w, why, http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}
