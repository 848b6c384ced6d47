package httplimit

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/contract"
)

// A Limiter decides. *client.Client is one.
type Limiter interface {
	Check(context.Context, client.CheckRequest) (client.Decision, error)
	Acquire(context.Context, client.AcquireRequest) (client.Grant, error)
}

// Bounds that the limiter's API sets.
const (
	maxKey  = 256 // bytes
	maxCost = 1_000_000_000
)

// lastKnownKeys bounds the keys whose last values are remembered: some megabytes.
const lastKnownKeys = 50_000

// Config says how a handler is limited. Only Key is required.
type Config struct {
	// Key returns the key that a request counts for, and its tier: empty for the
	// limiter's default. If it fails, the request is answered with the error if
	// that is a contract.Error, and else with invalid_api_key.
	Key func(*http.Request) (key, tier string, err error)

	// Run reports whether a request is a run, which holds a slot while it is
	// served. nil: none is.
	Run func(*http.Request) bool

	// Cost returns the units that a request takes; 0: it must have room, but takes
	// nothing. nil: 1.
	Cost func(*http.Request) uint32

	// RunID names a run, uniquely within its key; the same name again joins the
	// run that is under way. nil: a new name made from the request's id.
	RunID func(*http.Request) string

	// RunTTL is how long a dead process blocks its slots: 1 s to 10 min. 0:
	// client.DefaultTTL.
	RunTTL time.Duration

	// Limits are the limits of the tiers, by name; that of "" stands for all
	// others and is required. They are what the headers say as long as no decision
	// about a key was seen. nil: those of the contract.
	Limits map[string]uint32

	// Log receives what went wrong, never a key. nil: slog.Default.
	Log *slog.Logger
}

// contractLimits are the units a minute of the contract's tiers.
var contractLimits = map[string]uint32{"": 10, "free": 10, "pro": 60, "enterprise": 600}

func (c *Config) complete() error {
	if c.Key == nil {
		return errors.New("httplimit: Config.Key is missing")
	}
	if c.RunTTL < 0 || c.RunTTL > 0 && c.RunTTL < time.Second || c.RunTTL > 10*time.Minute {
		return errors.New("httplimit: Config.RunTTL is not from 1 s to 10 min")
	}
	if c.Limits == nil {
		c.Limits = contractLimits
	}
	if _, ok := c.Limits[""]; !ok {
		return errors.New(`httplimit: Config.Limits[""] is missing`)
	}
	c.Limits = maps.Clone(c.Limits)
	if c.RunID == nil {
		c.RunID = newRunID
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

// New returns what wraps a handler so that limiter decides which requests reach
// it. Handlers that it wraps share what is known of each key. The error names
// the field of cfg that is wrong.
func New(limiter Limiter, cfg Config) (func(http.Handler) http.Handler, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	known, err := NewLastKnown(lastKnownKeys)
	if err != nil {
		return nil, err
	}
	m := &middleware{Config: cfg, limiter: limiter, known: known}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}, nil
}

type middleware struct {
	Config
	limiter Limiter
	known   *LastKnown
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r = EnsureRequestID(w, r)
	key, tier, err := m.Key(r)
	if err == nil && (key == "" || len(key) > maxKey || !utf8.ValidString(key)) {
		err = contract.Error{Code: contract.InvalidAPIKey}
	}
	if err != nil {
		m.refuseKey(w, tier, err)
		return
	}

	run := m.Run != nil && m.Run(r)
	a, err := m.ask(r, key, tier, run)
	now := time.Now()
	m.known.RateLimit(key, m.limit(tier), a.decision, now).Set(w.Header(), now)
	switch {
	case err != nil:
		e, wait := Failure(err)
		if e.Code == contract.InternalError {
			m.warn(r, "limiter refused the call", err)
		}
		refuse(w, e, wait)
	case !a.allowed:
		e, wait := Denial(a.reason, a.retryAfter)
		refuse(w, e, wait)
	case run:
		m.serveRun(w, r, next, a.lease)
	default:
		next.ServeHTTP(w, r)
	}
}

// An answer is what the limiter says of a request or of a run.
type answer struct {
	allowed    bool
	reason     client.Reason
	retryAfter time.Duration
	decision   client.Decision // of the windows; zero if there is none
	lease      *client.Lease   // of a run, or nil
}

func (m *middleware) ask(r *http.Request, key, tier string, run bool) (answer, error) {
	cost := uint32(1)
	if m.Cost != nil {
		cost = min(m.Cost(r), maxCost) // more could not pass either
	}
	if !run {
		d, err := m.limiter.Check(r.Context(), client.CheckRequest{Key: key, Tier: tier, Cost: &cost})
		return answer{d.Allowed, d.Reason, d.RetryAfter, d, nil}, err
	}
	g, err := m.limiter.Acquire(r.Context(), client.AcquireRequest{
		Key: key, Tier: tier, RunID: m.RunID(r), TTL: m.RunTTL, RequestCost: &cost,
	})
	return answer{g.Granted, g.Reason, g.RetryAfter, g.Decision, g.Lease}, err
}

// serveRun serves a run that has its slot. The slot is given up when the
// handler has returned or panicked, before the end of the response is sent: a
// client that runs one thing after the other finds its slot free.
func (m *middleware) serveRun(w http.ResponseWriter, r *http.Request, next http.Handler, lease *client.Lease) {
	sw := &statusWriter{ResponseWriter: w}
	defer func() {
		if err := Finish(r.Context(), lease, sw.status); err != nil {
			m.warn(r, "lease not given up", err)
		}
	}()
	next.ServeHTTP(sw, r.WithContext(context.WithValue(r.Context(), leaseContextKey{}, lease)))
}

// refuseKey answers a request that has no key to count for.
func (m *middleware) refuseKey(w http.ResponseWriter, tier string, err error) {
	var e contract.Error
	if !errors.As(err, &e) {
		e = contract.Error{Code: contract.InvalidAPIKey}
	}
	limit := m.limit(tier)
	contract.RateLimit{Limit: limit, Remaining: limit}.Set(w.Header(), time.Now())
	refuse(w, e, 0)
}

// refuse answers with e, and with Retry-After if there is a wait.
func refuse(w http.ResponseWriter, e contract.Error, wait time.Duration) {
	if wait > 0 {
		contract.SetRetryAfter(w.Header(), wait)
	}
	contract.WriteError(w, e)
}

// limit is what the headers say of a key of which nothing else is known.
func (m *middleware) limit(tier string) uint32 {
	if n, ok := m.Limits[tier]; ok {
		return n
	}
	return m.Limits[""]
}

func (m *middleware) warn(r *http.Request, message string, err error) {
	m.Log.WarnContext(r.Context(), message, "request_id", client.RequestID(r.Context()), "error", err)
}
