package client

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// outageQuiet is the least time between two log lines about a silent limiter,
// which fails every call and must not flood the log.
const outageQuiet = time.Second

// An outage tells the log when the limiter stops deciding, and when it decides
// again. It costs a call that was decided one atomic load.
type outage struct {
	log    *slog.Logger
	policy Policy

	warned atomic.Bool // the log's last word is that the limiter does not decide

	mu    sync.Mutex // guards what follows, and changes of warned
	calls int        // undecided since the log last said that it decides
	quiet time.Time  // nothing is logged before
}

// silent notes a call that was not decided because of e.
func (o *outage) silent(now time.Time, e *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	if o.warned.Load() || now.Before(o.quiet) {
		return
	}
	o.warned.Store(true)
	o.quiet = now.Add(outageQuiet)
	o.log.Warn("limiter does not decide", "policy", o.policy.String(), "undecided", o.calls, "error", e)
}

// answered notes a call that was decided, or refused as wrong.
func (o *outage) answered() {
	if !o.warned.Load() {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.warned.Load() || now.Before(o.quiet) {
		return
	}
	o.log.Info("limiter decides again", "undecided", o.calls)
	o.warned.Store(false)
	o.calls, o.quiet = 0, now.Add(outageQuiet)
}
