package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A Client asks one Sluice node, or those that its target resolves to. Its
// methods may be called from many goroutines. Close it when done.
type Client struct {
	conn    *grpc.ClientConn
	rpc     sluicev1.RateLimiterServiceClient
	timeout time.Duration
	policy  Policy
	log     *slog.Logger
	outage  outage

	renewals renewals
	runs     runs

	background context.Context // ends when the client is closed
	stop       context.CancelFunc

	mu     sync.Mutex // guards closed, and that tasks are added before it is set
	closed bool
	tasks  sync.WaitGroup // goroutines of the client
}

// New returns a client of the limiter at target: an address, host:port, or any
// target that grpc knows, as dns:///sluice:7070 whose addresses then take turns.
// It does not wait for a connection. The error names the option that is wrong.
func New(target string, opts ...Option) (*Client, error) {
	o := options{timeout: DefaultTimeout, log: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, append(dialDefaults(), o.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Client{
		conn:    conn,
		rpc:     sluicev1.NewRateLimiterServiceClient(conn),
		timeout: o.timeout,
		policy:  o.policy,
		log:     o.log,
		outage:  outage{log: o.log, policy: o.policy},
	}
	c.background, c.stop = context.WithCancel(context.Background())
	c.renewals.init()
	c.tasks.Go(c.renew)
	conn.Connect() // the first call should not pay for it
	return c, nil
}

// dialDefaults are what the caller's dial options may override.
func dialDefaults() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		// Else the resolver asks DNS for a service configuration.
		grpc.WithDisableServiceConfig(),
		// A node that comes back is used within a second; grpc's default lets two
		// minutes pass.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		// A node that vanished without closing its connections is noticed in
		// seconds, not when TCP gives up after a quarter of an hour.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		// The answer to a full batch is larger than grpc's default of 4 MiB, and
		// to refuse it after it was counted would help nobody.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}
}

// Close stops the renewal of leases and closes the connection. Leases that are
// still held are not released: they are lost with ErrClosed, and their slots
// come free when they expire (see ReleaseAll). Releases and detachments under way
// are finished first, which takes three seconds at most. Closing again does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()

	c.stop()
	c.tasks.Wait()
	c.renewals.abandon()
	return c.conn.Close()
}

// spawn runs f in a goroutine that Close waits for, unless the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(f)
	return true
}

// invoke makes one call that may take as long as ctx, and at most timeout.
func invoke[Req, Res any](
	ctx context.Context, timeout time.Duration,
	rpc func(context.Context, Req, ...grpc.CallOption) (Res, error), req Req,
) (Res, *Error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id := RequestID(ctx)
	if id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, requestIDKey, id)
	}
	var (
		header metadata.MD
		server peer.Peer // has an address once a connection was found for the call
	)
	res, err := rpc(ctx, req, grpc.Header(&header), grpc.Peer(&server))
	if err == nil {
		return res, nil
	}
	e := readError(err)
	e.RequestID = requestIDOf(header, id)
	e.sent = server.Addr != nil
	return res, e
}
