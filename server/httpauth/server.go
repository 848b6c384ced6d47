package httpauth

import (
	"context"
	_ "embed"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/securehttp"
)

// Bounds on what one caller can make the node hold.
const (
	maxHeader  = 16 << 10 // bytes of a request's header
	maxBody    = 1 << 20  // bytes of a JSON request
	decideTime = time.Second
)

// A Limiter decides: a part of the API's service.
type Limiter interface {
	Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error)
	Acquire(context.Context, *sluicev1.AcquireRequest) (*sluicev1.AcquireResponse, error)
	Renew(context.Context, *sluicev1.RenewRequest) (*sluicev1.RenewResponse, error)
	Release(context.Context, *sluicev1.ReleaseRequest) (*sluicev1.ReleaseResponse, error)
}

// Config says how a Server is to be. Limiter and Log are required.
type Config struct {
	Limiter Limiter
	Log     *slog.Logger
	// Tokens knows those of trusted callers. nil: no caller of /v1/auth is trusted, and the JSON
	// methods are open to all, as gRPC is.
	Tokens *secure.Guard
	// Fields adds the headers RateLimit and RateLimit-Policy of the IETF's draft to the X- ones.
	Fields bool
	// Guard says who may come. nil: everybody.
	Guard *secure.Guard
	// Now is the wall clock. nil: time.Now.
	Now func() time.Time
}

// A Server serves gateways over HTTP on one port.
type Server struct {
	Config
	http *http.Server
}

//go:embed openapi.yaml
var openAPI []byte

// NewServer returns a Server that is ready to serve.
func NewServer(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{Config: c}
	s.http = &http.Server{
		Handler: s.handler(), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), // what callers do wrong
	}
	securehttp.Protect(s.http, c.Guard)
	return s
}

// Handler returns what Serve serves.
func (s *Server) Handler() http.Handler { return s.http.Handler }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/auth", inTime(s.auth))
	mux.HandleFunc("POST /v1/auth", inTime(s.auth))
	mux.HandleFunc("DELETE /v1/leases/{id}", inTime(s.endLease))
	mux.HandleFunc("POST /v1/check", asJSON(s, s.Limiter.Check, decidedHeaders))
	mux.HandleFunc("POST /v1/acquire", asJSON(s, s.Limiter.Acquire, acquiredHeaders))
	mux.HandleFunc("POST /v1/renew", asJSON(s, s.Limiter.Renew, nil))
	mux.HandleFunc("POST /v1/release", asJSON(s, s.Limiter.Release, nil))
	mux.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		contract.WriteError(w, contract.Error{Code: contract.NotFound})
	})
	return s.around(mux)
}

// Serve accepts connections until the Server is shut down. It returns nil then.
func (s *Server) Serve(lis net.Listener) error {
	return securehttp.Serve(s.http, lis)
}

// Shutdown ends the server: requests under way are answered, no new ones begin. When ctx ends
// first, what is left is cut off, and its error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	return err
}
