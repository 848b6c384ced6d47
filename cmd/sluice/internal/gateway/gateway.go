package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/limiter/contract"
)

// A Limiter decides. *client.Client is one, made with the Config's Fail and
// Timeout; a Gateway adds no deadline of its own.
type Limiter interface {
	Check(context.Context, client.CheckRequest) (client.Decision, error)
	Acquire(context.Context, client.AcquireRequest) (client.Grant, error)
}

// knownKeys bounds the keys whose last values are remembered: some megabytes.
const knownKeys = 50_000

// A Gateway is an http.Handler that limits requests and proxies them to its
// upstream. Serve it with [Gateway.Serve].
type Gateway struct {
	config    Config
	upstream  *url.URL
	limiter   Limiter
	log       *slog.Logger
	routes    *routeTable
	known     *httplimit.LastKnown
	addresses *addressCounter
	transport *http.Transport
	buffers   bufferPool
	drainFor  time.Duration
	patience  time.Duration

	warnedAddress, warnedPolicy occasional

	// serving is read-locked by each request, until its lease is settled.
	serving sync.RWMutex
}

// New returns a gateway in front of upstream, an http or https URL whose path, if
// any, is put before that of each request. The error names the fields that are
// wrong. A nil logger is slog.Default; what is logged never has a key.
func New(cfg Config, upstream *url.URL, limiter Limiter, logger *slog.Logger) (*Gateway, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := validUpstream(upstream); err != nil {
		return nil, err
	}
	if limiter == nil {
		return nil, errors.New("gateway: the limiter is missing")
	}
	if logger == nil {
		logger = slog.Default()
	}
	cfg.Routes = slices.Clone(cfg.Routes)
	routes, _ := newRouteTable(cfg.Routes) // problems were found by validate
	known, err := httplimit.NewLastKnown(knownKeys)
	if err != nil {
		return nil, err
	}
	tier, _ := cfg.Policy.Tier(cfg.Anonymous.Tier)
	addresses, err := newAddressCounter(tier)
	if err != nil {
		return nil, err
	}
	return &Gateway{
		config: cfg, upstream: upstream, limiter: limiter, log: logger,
		routes: routes, known: known, addresses: addresses,
		transport: newTransport(), drainFor: drainFor, patience: uploadPatience,
	}, nil
}

func validUpstream(u *url.URL) error {
	switch {
	case u == nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("gateway: upstream must be a URL such as http://127.0.0.1:9000")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("gateway: upstream must have no user, query or fragment")
	}
	return nil
}

// ServeHTTP limits a request, and proxies it if it may pass.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.serving.RLock()
	defer g.serving.RUnlock()
	if id := r.Header.Get(contract.HeaderRequestID); strings.Contains(id, keyPrefix) {
		r.Header.Del(contract.HeaderRequestID) // request ids are logged, keys are not
	}
	r = httplimit.EnsureRequestID(w, r)
	x := &exchange{
		gateway: g,
		request: r,
		id:      client.RequestID(r.Context()),
		begun:   time.Now(),
	}
	x.out = &response{ResponseWriter: w, requestID: x.id}
	defer x.end()
	x.serve()
}

// Bounds of a server. A request's body and its response have none of their own:
// the sync ceiling ends what is too slow.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10

	// drainFor is how long requests may go on once the server is told to stop.
	drainFor = 30 * time.Second
	// uploadPatience is how long a client may go on sending its body behind a refusal
	// or an answer.
	uploadPatience = 5 * time.Second
)

// Serve serves l until ctx ends, and closes it; it is called once. Requests under way may then finish
// for 30 s; what is left is cut off, as are upgraded connections. It returns when
// no request holds a lease any more: nil if none was cut off. The limiter's
// client must be closed after that, not before.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:                      g,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // else OPTIONS * would be answered without the contract
		ErrorLog:                     g.debugLog(),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	var failure error
	select {
	case err := <-served: // the listener broke
		failure = fmt.Errorf("gateway: %w", err)
		served <- err
	case <-ctx.Done():
	}

	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), g.drainFor)
	defer stop()
	if err := server.Shutdown(drain); err != nil && failure == nil {
		failure = fmt.Errorf("gateway: requests still under way after %v were cut off", g.drainFor)
	}
	cut()
	_ = server.Close() // what Shutdown left open
	<-served           //nolint:errcheck // it is in failure, or says that the server was closed
	g.serving.Lock()   // all requests have settled their leases
	defer g.serving.Unlock()
	g.transport.CloseIdleConnections()
	return failure
}

// debugLog is for what the standard library logs by itself: mostly clients that
// broke off.
func (g *Gateway) debugLog() *log.Logger {
	return slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)
}
