// Package server puts a node together: the engine, the policy, and the faces that show
// them to the world, each a package below this one.
package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/admin"
	"github.com/overten/sluice/server/envoy"
	"github.com/overten/sluice/server/httpauth"
	"github.com/overten/sluice/server/metrics"
	"github.com/overten/sluice/server/rpc"
	"github.com/overten/sluice/server/secure/securerpc"
	"github.com/overten/sluice/server/trace"
)

// Partitions is how many slices the key space has. All nodes of a cluster must agree on
// it; it is far above the number of nodes, so that each holds its fair share.
const Partitions = 1021

// Config says how a node is to be. The zero value of an optional field is stated.
type Config struct {
	GRPC   string         // address for gateways, host:port; port 0: any free one
	Policy *policy.Policy // nil: policy.Default
	// PolicyFile is where the policy is read from, in place of Policy, now and whenever the file
	// changes. "": nowhere.
	PolicyFile string
	Secret     []byte           // at least limiter.MinSecretLen bytes; nil: a random one
	MaxKeys    int              // keys with history or leases at a time
	WhenFull   limiter.WhenFull // how new keys are treated when there are so many
	Log        *slog.Logger     // nil: slog.Default
	// Trace says where the spans of calls go that are traced; Node and Log in it are set by Start.
	// nil: nothing is traced.
	Trace *trace.Config
	Clock rpc.Clock // nil: rpc.NewClock()

	Cluster       *cluster.Config // how it takes part in a cluster; nil: it is alone, for good
	HTTP          string          // address for gateways that ask over HTTP, host:port; "": none
	HTTPTokenFile string          // tokens, one a line, of HTTP callers whose tier and cost count; "": of none
	HTTPFields    bool            // HTTP answers have the IETF's headers too
	// Whether Envoy's services are served on GRPC too.
	EnvoyRateLimit, EnvoyAuthz bool

	Admin string // address for operators, host:port; "" or without Cluster: none
	Ports Ports  // who may come to them
}

// A Node is one running limiter.
type Node struct {
	log     *slog.Logger
	table   *limiter.Table
	clock   rpc.Clock
	rpc     *rpc.Server
	lis     net.Listener
	cluster *cluster.Node // nil: alone
	admin   *admin.Server // nil: none
	adminAt net.Listener
	http    *httpauth.Server // nil: none
	httpAt  net.Listener
	guards  guards
	tracer  *trace.Tracer // nil: nothing is traced

	phase   atomic.Int32       // a phase
	stop    context.CancelFunc // ends the background work
	workers sync.WaitGroup
	failed  chan error // why serving ended by itself

	metrics    *metrics.Metrics
	policyFile *policyFile // nil: none
	setting    sync.Mutex  // held while the policy is read and set; guards policy
	policy     *policy.Policy
}

// The phases of a node.
const (
	joining = iota
	ready
	draining
)

// notReady returns why no calls should be sent to the node: not whether it sees others, as a
// network that is cut would then leave no node to ask.
func (n *Node) notReady() string {
	switch n.phase.Load() {
	case joining:
		return "joining: it is not settled yet who decides"
	case draining:
		return "draining"
	}
	return ""
}

// Start starts a node. When it returns a node that is alone answers; one of a cluster joins
// in the background, and lets calls wait until then.
func Start(c Config) (_ *Node, err error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	n := &Node{log: c.Log, failed: make(chan error, 4), metrics: metrics.New()}
	if err := n.firstPolicy(&c); err != nil {
		return nil, err
	}
	if n.guards, err = openGuards(&c); err != nil {
		return nil, err
	}
	if c.Secret == nil {
		c.Secret = make([]byte, 32)
		_, _ = rand.Read(c.Secret) // never fails
	}
	secrets, err := limiter.NewSecrets(c.Secret)
	if err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = rpc.NewClock()
	}
	n.clock = c.Clock
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	if n.tracer, err = openTracer(&c); err != nil {
		return nil, err
	}
	if n.lis, err = n.listen(c.GRPC); err != nil {
		return nil, fmt.Errorf("gRPC for gateways: %w", err)
	}
	if c.HTTP != "" {
		if n.httpAt, err = n.listen(c.HTTP); err != nil {
			return nil, fmt.Errorf("HTTP for gateways: %w", err)
		}
	}
	if c.Cluster != nil {
		err = n.join(&c, secrets)
	} else {
		n.table, err = limiter.NewTable(limiter.Config{
			Partitions: Partitions, MaxKeys: c.MaxKeys, WhenFull: c.WhenFull, LargestLimit: c.Policy.LargestLimit(),
		})
	}
	if err != nil {
		return nil, err
	}
	n.serve(&c, secrets)
	if n.cluster == nil {
		n.tellReady(&c)
	} else {
		c.Log.Info("joining", "name", c.Cluster.Name, "peer", n.cluster.PeerAddr(), "gossip", n.cluster.GossipAddr(), "admin", n.AdminAddr())
	}
	return n, nil
}

// join starts the node's part in its cluster.
func (n *Node) join(c *Config, secrets limiter.Secrets) (err error) {
	if c.Admin != "" {
		if n.adminAt, err = n.listen(c.Admin); err != nil {
			return fmt.Errorf("operators: %w", err)
		}
	}
	of := *c.Cluster
	of.Partitions, of.MaxKeys, of.WhenFull, of.Log = Partitions, c.MaxKeys, c.WhenFull, c.Log
	of.GRPC = advertised(n.lis.Addr(), of.Advertise)
	if n.adminAt != nil {
		of.Admin = advertised(n.adminAt.Addr(), of.Advertise)
	}
	of.Secrets, of.Rules = secrets.Fingerprint(), rulesOf(c.Policy)
	of.Clock = func() limiter.Instant {
		now, _ := n.clock()
		return now
	}
	n.protectPeers(&of)
	if n.tracer != nil {
		of.Tracer = n.tracer.Cluster()
	}
	n.cluster, err = cluster.Start(of)
	if err != nil {
		return err
	}
	n.table = n.cluster.Table()
	return nil
}

// serve starts the faces and the background work.
func (n *Node) serve(c *Config, secrets limiter.Secrets) {
	hasher := limiter.NewHasher(secrets, Partitions)
	of := rpc.Config{
		Table: n.table, Hasher: hasher, Sealer: limiter.NewSealer(secrets, Partitions),
		Policy: c.Policy, Clock: n.clock, Log: c.Log, Metrics: n.metrics,
		Options: securerpc.ServerOptions(n.guards.grpc),
	}
	if n.cluster != nil {
		of.Cluster, of.Topology = n.cluster, topology{n.cluster}
	}
	if n.tracer != nil {
		of.Tracer = n.tracer
	}
	n.metrics.SetReader(n.readings)
	n.rpc = rpc.NewServer(of)
	envoy.Register(n.rpc, envoy.Config{Limiter: n.rpc.Local(), RateLimit: c.EnvoyRateLimit, Authz: c.EnvoyAuthz, Now: n.wall})
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.watchPorts(ctx)
	n.workers.Go(func() { n.sweep(ctx, c.MaxKeys) })
	n.workers.Go(func() { n.fail(n.rpc.Serve(n.lis)) })
	n.warn("gateways", n.lis.Addr(), n.guards.grpc)
	if n.httpAt != nil {
		n.http = httpauth.NewServer(httpauth.Config{
			Limiter: n.rpc.Local(), Log: c.Log, Tokens: n.guards.tokens, Fields: c.HTTPFields,
			Now: n.wall, Guard: n.guards.http,
		})
		n.workers.Go(func() { n.fail(n.http.Serve(n.httpAt)) })
		n.warn("gateways that ask over HTTP", n.httpAt.Addr(), n.guards.http)
	}
	if n.cluster != nil {
		n.warnCluster(c.Cluster)
		n.workers.Go(func() { n.awaitReady(ctx, c) })
		n.workers.Go(func() {
			select {
			case <-n.cluster.Superseded():
				n.fail(cluster.ErrSuperseded)
			case <-ctx.Done():
			}
		})
	}
	if n.adminAt != nil {
		n.admin = admin.NewServer(admin.Config{
			Node: c.Cluster.Name, Partitions: Partitions, Cluster: n.cluster, Hasher: hasher, Policy: c.Policy, Log: c.Log,
			Metrics: of.Metrics.Handler(c.Cluster.Version), Page: n.page(ctx, c.MaxKeys), NotReady: n.notReady, Guard: n.guards.admin,
		})
		n.workers.Go(func() { n.fail(n.admin.Serve(n.adminAt)) })
		n.warn("operators", n.adminAt.Addr(), n.guards.admin)
	}
	if n.policyFile != nil {
		n.workers.Go(func() { n.followPolicy(ctx) })
	}
}

// wall is the clock that people read.
func (n *Node) wall() time.Time {
	_, wall := n.clock()
	return wall
}

func (n *Node) fail(err error) {
	if err != nil {
		n.failed <- err
	}
}

// awaitReady lets the node's health say that it serves, once it knows for each partition who
// decides.
func (n *Node) awaitReady(ctx context.Context, c *Config) {
	if n.cluster.AwaitSettled(ctx) == nil {
		n.phase.CompareAndSwap(joining, ready)
		n.rpc.SetServing(true)
		n.tellReady(c)
	}
}

func (n *Node) tellReady(c *Config) {
	n.log.Info("ready", "grpc", n.Addr(), "http", n.HTTPAddr(), "policy", c.Policy.Fingerprint(), "tiers", len(c.Policy.Tiers()), "known_keys", c.Policy.Keys(), "max_keys", c.MaxKeys)
}

// advertised is the address of a listener that others are told.
func advertised(at net.Addr, host string) string {
	if _, port, err := net.SplitHostPort(at.String()); err == nil && host != "" {
		return net.JoinHostPort(host, port)
	}
	return at.String()
}

// abandon gives up a start that failed.
func (n *Node) abandon() {
	for _, lis := range []net.Listener{n.lis, n.httpAt, n.adminAt} {
		if lis != nil {
			_ = lis.Close()
		}
	}
	if n.tracer != nil {
		n.tracer.Shutdown(context.Background())
	}
}

// Addr returns the address for gateways.
func (n *Node) Addr() string { return n.lis.Addr().String() }

// AdminAddr returns the address for operators, "" if there is none.
func (n *Node) AdminAddr() string {
	if n.adminAt == nil {
		return ""
	}
	return n.adminAt.Addr().String()
}

// HTTPAddr returns the address for gateways that ask over HTTP, "" if there is none.
func (n *Node) HTTPAddr() string {
	if n.httpAt == nil {
		return ""
	}
	return n.httpAt.Addr().String()
}

// Cluster returns the node's part in its cluster, nil if it is alone.
func (n *Node) Cluster() *cluster.Node { return n.cluster }

// Failed delivers the error that ended the serving of calls, if one does.
func (n *Node) Failed() <-chan error { return n.failed }

// Shutdown stops the node: it hands over what it holds, answering calls all the while, then
// says that it is not serving, answers the calls under way, leaves the cluster and closes
// its ports. When ctx ends first, what is left is cut off and its error is returned.
func (n *Node) Shutdown(ctx context.Context) error {
	n.log.Info("shutting down")
	n.phase.Store(draining)
	if n.cluster != nil {
		if left := n.cluster.Drain(ctx); left > 0 {
			n.log.Warn("leaving though not all was handed over", "partitions", left)
		}
	}
	var err error
	if n.http != nil {
		err = n.http.Shutdown(ctx)
	}
	if e := n.rpc.Shutdown(ctx); err == nil {
		err = e
	}
	n.stop()
	if n.cluster != nil {
		if n.admin != nil {
			n.endAdmin(ctx)
		}
		if e := n.cluster.Close(ctx); err == nil {
			err = e
		}
	}
	n.workers.Wait()
	if n.tracer != nil {
		n.tracer.Shutdown(ctx)
	}
	n.log.Info("stopped")
	return err
}

// operatorsMost is how long operators' calls that are under way hold up that the node leaves.
const operatorsMost = 3 * time.Second

// endAdmin closes the port for operators. What is under way there is answered while the cluster can
// still be asked, but who stalls must not keep the node from leaving in good order.
func (n *Node) endAdmin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, operatorsMost)
	defer cancel()
	_ = n.admin.Shutdown(ctx)
}

// The sweep looks at every key about every five seconds, or, if they are many or there is hardly room
// for more, at 250,000 keys a second: about one percent of a core.
const (
	sweepEvery = 50 * time.Millisecond
	sweepKeys  = 12_500
	sweepSteps = int(5 * time.Second / sweepEvery)
)

// sweepStep is at how many places for a key a sweep looks, if the table holds so many keys, of
// so many at most. Up to half of the places are free, and of a partition up to a page more; one
// without any counts as one.
func sweepStep(keys, most int) int {
	if keys > most-most/10 {
		return sweepKeys
	}
	return min(sweepKeys, (2*keys+limiter.PageRecords*min(keys, Partitions)+Partitions)/sweepSteps+1)
}

// sweep forgets idle keys until ctx ends.
func (n *Node) sweep(ctx context.Context, maxKeys int) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now, _ := n.clock()
			n.table.Sweep(now, sweepStep(n.table.Keys(), maxKeys))
		}
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// ReadSecret reads a cluster's secret from a file, without the white space around it.
func ReadSecret(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if len(b) < limiter.MinSecretLen {
		return nil, fmt.Errorf("%s: %w", path, errSecretShort)
	}
	return b, nil
}

var errSecretShort = errors.New("the secret has fewer than 16 bytes; make one with: openssl rand -hex 32")
