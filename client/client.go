package client

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// A Client asks the nodes of a limiter, each key where it is decided if that can
// be learned. Its methods may be called from many goroutines. Close it when done.
type Client struct {
	timeout time.Duration
	policy  Policy
	log     *slog.Logger
	outage  outage
	denials *denials // nil: none are remembered

	dial     []grpc.DialOption
	seeds    []*node
	known    map[string]*node // seeds and members by address; the watching goroutine's
	topology atomic.Pointer[topology]

	questions sync.Pool // of *question, to be used again

	renewals renewals
	runs     runs

	background context.Context // ends when the client is closed
	stop       context.CancelFunc

	mu     sync.Mutex // guards closed, and that tasks are added before it is set
	closed bool
	tasks  sync.WaitGroup // goroutines of the client
	over   atomic.Bool    // the connections are closed too
}

// New returns a client of the limiter at target: an address, host:port, or any
// target that grpc knows, as dns:///sluice:7070 whose addresses then take turns.
// Several, separated by commas, are nodes of one cluster, and each is asked if
// others do not answer. From there the client learns of all other nodes; these must
// be reachable under the addresses that they advertise, else only target is asked.
//
// It does not wait for a connection. The error names the option that is wrong.
func New(target string, opts ...Option) (*Client, error) {
	o := options{timeout: DefaultTimeout, log: slog.Default(), denials: true}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Client{
		timeout: o.timeout,
		policy:  o.policy,
		log:     o.log,
		outage:  outage{log: o.log, policy: o.policy},
		dial:    append(dialDefaults(), o.dial...),
		known:   map[string]*node{},
	}
	if o.denials {
		c.denials = newDenials()
	}
	for _, address := range strings.Split(target, ",") {
		address = strings.TrimSpace(address)
		if c.known[address] != nil {
			continue
		}
		n, err := newNode(address, c.dial)
		if err != nil {
			_ = c.hangUp()
			return nil, fmt.Errorf("client: target %q: %w", address, err)
		}
		c.known[address] = n
		c.seeds = append(c.seeds, n)
	}
	c.topology.Store(&topology{nodes: c.seeds, members: len(c.seeds)})
	c.background, c.stop = context.WithCancel(context.Background())
	c.renewals.init()
	c.tasks.Go(c.renew)
	c.tasks.Go(c.watch)
	return c, nil
}

// window bounds what a node sends before it was read, in bytes.
const window = 1 << 20

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
		// Else grpc sizes windows by a ping with nearly every message, which is answered.
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		// The answer to a full batch is larger than grpc's default of 4 MiB, and
		// to refuse it after it was counted would help nobody.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}
}

// Close stops the renewal of leases and closes the connections. Leases that are
// still held are not released: they are lost with ErrClosed, and their slots
// come free when they expire (see ReleaseAll). Releases and detachments under way
// are finished first, which takes three seconds at most. Other calls under way
// fail, and so do those that come. Closing again does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()

	c.stop()
	c.renewals.abandon() // before releases are waited for: what is not renewed any more may be over by then
	c.tasks.Wait()
	c.over.Store(true)
	return c.hangUp()
}

// hangUp closes all connections.
func (c *Client) hangUp() error {
	var first error
	for _, n := range c.known {
		if err := n.close(); err != nil && first == nil {
			first = fmt.Errorf("client: %w", err)
		}
	}
	return first
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
