package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server"
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

// shutdownTimeout bounds how long calls under way may take to end.
const shutdownTimeout = 10 * time.Second

func newServe() *cobra.Command {
	var (
		grpcAddr, policyFile, keyFile, whenFull string
		maxKeys                                 int
		logs                                    logFlags
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Serve runs a node until it gets SIGTERM or SIGINT. It then says that it is not
serving, answers the calls under way, and ends within 10 seconds.

Without --policy it has the tiers free (10 requests a minute, 2 runs), pro (60, 10) and
enterprise (600, 50). Without --key-file it makes a secret of its own: lease ids are then
void after a restart.`,
		Example: `  sluice serve
  sluice serve --policy policy.yaml --key-file /etc/sluice/key --max-keys 2000000
  SLUICE_GRPC=0.0.0.0:7070 sluice serve --log-format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			config := server.Config{GRPC: grpcAddr, MaxKeys: maxKeys, Log: log}
			if policyFile != "" {
				if config.Policy, err = policy.Load(policyFile); err != nil {
					return err
				}
			}
			if keyFile != "" {
				if config.Secret, err = server.ReadSecret(keyFile); err != nil {
					return fmt.Errorf("--key-file: %w", err)
				}
			}
			if config.WhenFull, err = parseWhenFull(whenFull); err != nil {
				return err
			}
			node, err := server.Start(config)
			if err != nil {
				return err
			}
			return untilDone(cmd.Context(), node)
		},
	}
	f := cmd.Flags()
	f.StringVar(&grpcAddr, "grpc", "127.0.0.1:7070", "`address` for gateways")
	f.StringVar(&policyFile, "policy", "", "policy `file`: tiers, and which key has which")
	f.StringVar(&keyFile, "key-file", "", "`file` with the cluster's secret, at least 16 bytes")
	f.IntVar(&maxKeys, "max-keys", 10_000_000, "keys with history or leases at a time, about 80 bytes each")
	f.StringVar(&whenFull, "when-full", "closed", "what becomes of new keys beyond --max-keys: open (allowed uncounted) or closed (denied)")
	logs.add(cmd)
	return cmd
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
		return fmt.Errorf("calls were cut off after %v", shutdownTimeout)
	}
	return failed
}
