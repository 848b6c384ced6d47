package client

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
)

// DefaultTimeout bounds each call unless WithTimeout says otherwise.
const DefaultTimeout = 50 * time.Millisecond

// A Policy says what becomes of a request when nothing could be decided.
type Policy int

const (
	// FailClosed: the call fails with an error that is ErrUndecided.
	FailClosed Policy = iota
	// FailOpen: the call allows the request; the answer's exactness is Undecided.
	FailOpen
)

// String returns closed or open.
func (p Policy) String() string {
	switch p {
	case FailClosed:
		return "closed"
	case FailOpen:
		return "open"
	}
	return fmt.Sprintf("Policy(%d)", int(p))
}

// An Option changes how a Client works.
type Option func(*options)

type options struct {
	timeout time.Duration
	policy  Policy
	dial    []grpc.DialOption
	log     *slog.Logger
	denials bool
}

func (o *options) validate() error {
	if o.timeout <= 0 {
		return fmt.Errorf("client: WithTimeout: %v is not positive", o.timeout)
	}
	if o.policy != FailClosed && o.policy != FailOpen {
		return fmt.Errorf("client: WithPolicy: there is no %v", o.policy)
	}
	return nil
}

// WithTimeout sets how long a call may take with all its tries, if its context
// does not end earlier. It must be positive.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithPolicy sets what becomes of requests about which nothing could be decided.
func WithPolicy(p Policy) Option { return func(o *options) { o.policy = p } }

// WithDialOptions adds to how the limiter is dialed, and overrides the client's
// own choices. Without [WithTLS] the connection is neither
// encrypted nor authenticated, which suits loopback.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, opts...) }
}

// WithLogger sets where the client reports lost leases and a limiter that comes
// and goes. No key is ever logged. The default is slog.Default.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.log = l
		}
	}
}

// WithoutDenyCache lets every check be asked, also those that must be denied
// because the same was denied less than a second ago.
func WithoutDenyCache() Option { return func(o *options) { o.denials = false } }
