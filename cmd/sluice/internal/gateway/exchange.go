package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/limiter/contract"
)

// An exchange is one request on its way through the gateway. It belongs to the
// goroutine that serves the request, but for what is said to be shared.
type exchange struct {
	gateway *Gateway
	request *http.Request // as it came, with its id
	id      string
	begun   time.Time
	caller  caller
	out     *response

	lease *client.Lease // of a run; nil when it was given up, or there is none

	ctx            context.Context // of the call of the upstream; its cause tells why it ended
	ceiling        ceiling
	upstreamStatus int         // 0 until the upstream has answered
	uploadBroke    atomic.Bool // shared with the transport: the client's body could not be read

	refusal contract.Code // that the gateway answered with, for the log
}

// serve answers the request.
func (x *exchange) serve() {
	g := x.gateway
	x.caller = g.callerOf(x.request)
	route := g.routes.match(x.request)
	static := x.staticRefusal(route)
	a, err := x.ask(route.Run && static == nil)
	now := time.Now()
	if x.caller.address && cannotCount(a, err) {
		if g.warnedAddress.due(now) {
			g.log.Warn("the limiter's policy cannot count addresses, so this gateway counts them by itself: "+
				"give the node the tier of anonymous.tier, and no require_known_keys",
				"tier", x.caller.named, "request_id", x.id, "reason", a.reason.String(), "error", errorText(err))
		}
		d := g.addresses.check(x.caller.key, now)
		a, err = answer{allowed: d.Allowed, reason: d.Reason, retryAfter: d.RetryAfter, decision: d}, nil
	}
	x.lease = a.lease
	x.out.rateLimit, x.out.decided = g.known.RateLimit(x.caller.key, x.caller.limit, a.decision, now), now
	x.comparePolicies(a.decision, now)

	switch {
	case x.request.Context().Err() != nil:
		x.abort()
	case err != nil:
		if !errors.Is(err, client.ErrUndecided) { // an outage is reported by the client
			x.warn("limiter refused the call", err)
		}
		x.refuse(httplimit.Failure(err))
	case !a.allowed:
		x.refuse(httplimit.Denial(a.reason, a.retryAfter))
	case static != nil:
		x.refuse(*static, 0)
	default:
		x.forward()
	}
}

// refuse answers with e, and with Retry-After if there is a wait. The answer is so
// small that it goes out after end, when the slot is free.
func (x *exchange) refuse(e contract.Error, wait time.Duration) {
	x.refusal = e.Code
	if wait > 0 {
		contract.SetRetryAfter(x.out.Header(), wait)
	}
	x.ceiling.lift()
	if x.ceiling.reached() {
		x.out.Header().Set("Connection", "close") // it has deadlines now
	}
	if x.request.ContentLength != 0 && x.out.upload == nil {
		// net/http reads some more of the body before it answers.
		_ = http.NewResponseController(x.out).SetReadDeadline(time.Now().Add(x.gateway.patience))
	}
	contract.WriteError(x.out, e)
}

// abort ends the request without an answer: there is nobody to read one, or half
// of one was sent. It does not return. To panic so is how net/http is told.
func (x *exchange) abort() { panic(http.ErrAbortHandler) }

// settle gives up the lease: after 202 to the worker, else to the limiter. It
// does nothing the second time.
func (x *exchange) settle() {
	if x.lease == nil {
		return
	}
	lease := x.lease
	x.lease = nil
	err := httplimit.Finish(x.request.Context(), lease, x.upstreamStatus)
	var e *client.Error
	switch {
	case err == nil:
	case errors.As(err, &e) && e.Code == contract.Gone:
		// The worker was done before its 202 was through.
		x.gateway.log.Debug("lease was over already", "request_id", x.id)
	default:
		x.warn("lease not given up", err)
	}
}

// end is deferred: however the request ends, its lease is settled and its line
// written.
func (x *exchange) end() {
	p := recover()
	x.ceiling.lift()
	x.settle()
	if p != nil && p != any(http.ErrAbortHandler) { //nolint:errorlint // a panic's value, not a wrapped error
		x.gateway.log.Error("bug in the gateway", "request_id", x.id,
			"panic", redact(fmt.Sprint(p)), "stack", redact(string(debug.Stack())))
		if x.out.status == 0 {
			p = nil
			x.refuse(contract.Error{Code: contract.InternalError}, 0)
		}
	}
	x.logAccess(p != nil)
	if u := x.out.upload; u != nil && !u.complete.Load() {
		u.leave(http.NewResponseController(x.out), p != nil)
	}
	if p != nil {
		x.abort()
	}
}

// logAccess writes the request's line.
func (x *exchange) logAccess(aborted bool) {
	log := x.gateway.log
	if !log.Enabled(x.request.Context(), slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.id),
		slog.String("method", redact(x.request.Method)),
		slog.String("path", redact(x.request.URL.Path)),
		slog.Int("status", x.out.status),
		slog.Int("upstream_status", x.upstreamStatus),
		slog.Duration("took", time.Since(x.begun)),
	}
	if x.refusal != "" {
		attrs = append(attrs, slog.String("refusal", string(x.refusal)))
	}
	if x.caller.address {
		attrs = append(attrs, slog.String("client", x.caller.key))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	log.LogAttrs(x.request.Context(), slog.LevelDebug, "request", attrs...)
}

func (x *exchange) warn(message string, err error) {
	x.gateway.log.Warn(message, "request_id", x.id, "error", errorText(err))
}

// errorText returns the text of an error that may be nil, fit for the log.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return redact(err.Error())
}
