package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/trace"
)

// logFlags choose how a long-running command logs.
type logFlags struct {
	level  string
	format string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "least level that is logged: debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "text", "how log lines read: text or json")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format: %q is none of text, json", f.format)
}

// shutdownTimeout bounds how long handing over, and calls under way, may take.
const shutdownTimeout = 40 * time.Second

// serveFlags are what serve is told.
type serveFlags struct {
	grpc, policyFile, keyFile, whenFull string
	http, httpTokenFile                 string
	httpFields                          bool
	envoyRateLimit, envoyAuthz          bool
	maxKeys                             int
	traceEndpoint                       string
	logs                                logFlags
	ports                               portFlags

	name, peer, gossip, admin, advertise string
	join                                 []string
	whenLost, gossipKeyFile, label       string
	minMembers                           int
	bootstrapAfter                       time.Duration
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Serve runs a node until it gets SIGTERM or SIGINT. It then hands what it holds to the
other nodes, answers the calls under way, and ends: within a second or so, 40 at most.

Nodes that are given each other's gossip addresses with --join form a cluster: they share
the keys among them, and any of them answers for every key. Without --join a node starts
alone; others may join it.

The file of --policy is read again when it changes, and on SIGHUP. One that is wrong is
refused, and the old one stays. What was counted is kept.

With --trace-endpoint, or OTEL_EXPORTER_OTLP_ENDPOINT in the environment, calls that come with
a sampled traceparent are told to an OpenTelemetry collector. A node begins no trace itself.

Without --policy it has the tiers free (10 requests a minute, 2 runs), pro (60, 10) and
enterprise (600, 50). Without --key-file a node that joins none makes a secret of its own:
lease ids are then void after a restart; one with --join uses a secret that everybody
knows, for development.`,
		Example: `  sluice serve
  sluice serve --policy policy.yaml --key-file /etc/sluice/key --max-keys 2000000
  SLUICE_GRPC=0.0.0.0:7070 sluice serve --log-format json

  # a cluster of three on one machine
  sluice serve --name a --join 127.0.0.1:7946,127.0.0.2:7946,127.0.0.3:7946
  sluice serve --name b --join 127.0.0.1:7946,127.0.0.2:7946,127.0.0.3:7946 \
    --grpc 127.0.0.2:7070 --http 127.0.0.2:7080 --peer 127.0.0.2:7071 --gossip 127.0.0.2:7946 --admin 127.0.0.2:7090
  sluice serve --name c --join 127.0.0.1:7946,127.0.0.2:7946,127.0.0.3:7946 \
    --grpc 127.0.0.3:7070 --http 127.0.0.3:7080 --peer 127.0.0.3:7071 --gossip 127.0.0.3:7946 --admin 127.0.0.3:7090`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if len(f.join) == 0 {
				f.stepAside(cmd.Flags(), log)
			}
			config, err := f.config(log)
			if err != nil {
				return err
			}
			node, err := server.Start(config)
			if err != nil {
				return err
			}
			running, stop := context.WithCancel(cmd.Context())
			var beside sync.WaitGroup
			beside.Go(func() { paceCollector(running, node.TableMemory) })
			if f.policyFile != "" {
				hangups := make(chan os.Signal, 1)
				signal.Notify(hangups, syscall.SIGHUP)
				defer signal.Stop(hangups)
				beside.Go(func() { reloadOnHangup(running, hangups, node) })
			}
			defer beside.Wait()
			defer stop()
			return untilDone(cmd.Context(), node)
		},
	}
	f.add(cmd.Flags())
	f.ports.add(cmd.Flags())
	f.logs.add(cmd)
	return cmd
}

func (f *serveFlags) add(to *pflag.FlagSet) {
	to.StringVar(&f.grpc, "grpc", "127.0.0.1:7070", "`address` for gateways")
	to.StringVar(&f.http, "http", "127.0.0.1:7080", "`address` for gateways that ask over HTTP; empty for none")
	to.StringVar(&f.httpTokenFile, "http-token-file", "", "`file` with the tokens, one a line, of HTTP callers whose tier and cost count")
	to.BoolVar(&f.httpFields, "http-ietf-headers", false, "answer over HTTP with RateLimit and RateLimit-Policy too")
	to.BoolVar(&f.envoyRateLimit, "envoy-ratelimit", true, "serve Envoy's rate limit service on --grpc too")
	to.BoolVar(&f.envoyAuthz, "envoy-authz", true, "serve Envoy's external authorization on --grpc too")
	to.StringVar(&f.policyFile, "policy", "", "policy `file`: tiers, and which key has which")
	to.StringVar(&f.keyFile, "key-file", "", "`file` with the cluster's secret, at least 16 bytes")
	to.IntVar(&f.maxKeys, "max-keys", 10_000_000, "keys with history or leases at a time, copies for other nodes included, about 100 bytes each: 100,000,000 at most")
	to.StringVar(&f.whenFull, "when-full", "closed", "what becomes of new keys beyond --max-keys: open (allowed uncounted) or closed (denied)")

	to.StringVar(&f.traceEndpoint, "trace-endpoint", "", "`address` of an OpenTelemetry collector, OTLP over gRPC: host:port, or https://host:port for TLS (default that of OTEL_EXPORTER_OTLP_ENDPOINT; none: nothing is traced)")

	to.StringVar(&f.name, "name", "", "unique `name` in the cluster, the same after a restart (default the host's name)")
	to.StringVar(&f.peer, "peer", "127.0.0.1:7071", "`address` for other nodes")
	to.StringVar(&f.gossip, "gossip", "127.0.0.1:7946", "`address` for gossip, TCP and UDP")
	to.StringVar(&f.admin, "admin", "127.0.0.1:7090", "`address` for operators")
	to.StringVar(&f.advertise, "advertise", "", "`IP` or host name by which others reach this node (default that of --gossip)")
	to.StringSliceVar(&f.join, "join", nil, "gossip `addresses` of other nodes, DNS names too, separated by commas; its own may be among them")
	to.DurationVar(&f.bootstrapAfter, "bootstrap-after", cluster.DefaultBootstrapAfter, "with --join: start alone if no other node was reached for so long")
	to.IntVar(&f.minMembers, "min-members", 1, "refuse to decide while fewer members than this are in sight; above 1, also tell what is allowed only once a copy has it")
	to.StringVar(&f.whenLost, "when-lost", "open", "how keys are treated whose counts were lost with their node and its copy, for as long as what was lost would have counted: open (from nothing), half (half the limits) or closed (not at all)")
	to.StringVar(&f.gossipKeyFile, "gossip-key-file", "", "`file` with keys that encrypt gossip, one a line in base64, of 16, 24 or 32 bytes: the first encrypts, all decrypt")
	to.StringVar(&f.label, "label", "", "`label` of the cluster: nodes of another do not mix with it")
}

// stepAside lets a node that joins none start beside another on the same machine: where it
// was not told which ports to use, and the usual one is taken, it takes any.
func (f *serveFlags) stepAside(flags *pflag.FlagSet, log *slog.Logger) {
	for name, address := range map[string]*string{"http": &f.http, "peer": &f.peer, "gossip": &f.gossip, "admin": &f.admin} {
		if flags.Changed(name) {
			continue
		}
		lis, err := net.Listen("tcp", *address)
		if err == nil {
			_ = lis.Close()
			continue
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			log.Warn("the usual port is taken: using another", "flag", "--"+name, "usual", *address)
			host, _, _ := net.SplitHostPort(*address)
			*address = net.JoinHostPort(host, "0")
		}
	}
}

// config is what the flags come to.
func (f *serveFlags) config(log *slog.Logger) (c server.Config, err error) {
	c = server.Config{
		GRPC: f.grpc, HTTP: f.http, HTTPTokenFile: f.httpTokenFile, HTTPFields: f.httpFields, EnvoyRateLimit: f.envoyRateLimit, EnvoyAuthz: f.envoyAuthz,
		Admin: f.admin, PolicyFile: f.policyFile, MaxKeys: f.maxKeys, Log: log, Ports: f.ports.ports(),
	}
	switch {
	case f.keyFile != "":
		if c.Secret, err = server.ReadSecret(f.keyFile); err != nil {
			return c, fmt.Errorf("--key-file: %w", err)
		}
	case len(f.join) > 0:
		log.Warn("without --key-file this cluster uses a secret that everybody knows: for development only")
		c.Secret = []byte("sluice development secret")
	}
	if f.traceEndpoint != "" || trace.Wanted() {
		c.Trace = &trace.Config{Endpoint: f.traceEndpoint}
	}
	if c.WhenFull, err = parseWhenFull(f.whenFull); err != nil {
		return c, err
	}
	c.Cluster, err = f.cluster()
	return c, err
}

// cluster is what the flags say of the cluster.
func (f *serveFlags) cluster() (*cluster.Config, error) {
	c := &cluster.Config{
		Name: f.name, Peer: f.peer, Gossip: f.gossip, Advertise: f.advertise, Join: f.join, BootstrapAfter: f.bootstrapAfter,
		MinMembers: f.minMembers, Label: f.label, Version: version,
	}
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--name: the host's name is not known: %w", err)
		}
		c.Name = host
	}
	switch f.whenLost {
	case "open":
		c.Lost = ownership.LostOpen
	case "half":
		c.Lost = ownership.LostHalf
	case "closed":
		c.Lost = ownership.LostClosed
	default:
		return nil, fmt.Errorf("--when-lost: %q is none of open, half, closed", f.whenLost)
	}
	if f.gossipKeyFile != "" {
		var err error
		if c.GossipKeys, err = readGossipKeys(f.gossipKeyFile); err != nil {
			return nil, fmt.Errorf("--gossip-key-file: %w", err)
		}
	}
	return c, nil
}

// readGossipKeys reads keys in base64, one a line. Empty lines are passed over.
func readGossipKeys(path string) (keys [][]byte, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d is not base64", path, i+1)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no key; make one with: openssl rand -base64 32", path)
	}
	return keys, nil
}

func parseWhenFull(s string) (limiter.WhenFull, error) {
	switch s {
	case "open":
		return limiter.Open, nil
	case "closed":
		return limiter.Closed, nil
	}
	return 0, fmt.Errorf("--when-full: %q is none of open, closed", s)
}

// reloadOnHangup has the node read its policy file again at each SIGHUP, until ctx ends.
func reloadOnHangup(ctx context.Context, hangups <-chan os.Signal, node *server.Node) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			node.ReloadPolicy()
		}
	}
}

// untilDone waits for the end that ctx orders, or that the node came to by itself, and
// shuts the node down.
func untilDone(ctx context.Context, node *server.Node) error {
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-node.Failed():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := node.Shutdown(grace); err != nil && failed == nil {
		return unclean(err)
	}
	return failed
}

// unclean says what went wrong with a shutdown, which need not have taken too long.
func unclean(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("calls were cut off after %v: %w", shutdownTimeout, err)
	}
	return fmt.Errorf("the shutdown was not clean: %w", err)
}
