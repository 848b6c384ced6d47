package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
)

func newGateway() *cobra.Command {
	var (
		listen, upstream, configFile string
		logs                         logFlags
		door                         doorFlags
	)
	cmd := &cobra.Command{
		Use:   "gateway --upstream URL",
		Short: "Run a reverse proxy that limits the requests to an API",
		Long: `Gateway puts the API contract in front of an upstream: keys, rate limits, runs, upload
limits, and every error in the contract's shape. It asks a node for each request.

Without --config it asks the node at 127.0.0.1:7070 and knows no runs. docs/gateway.md
explains the file.`,
		Example: `  sluice gateway --upstream http://127.0.0.1:9000
  sluice gateway --upstream http://api.internal --config gateway.yaml --listen 0.0.0.0:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			config := gateway.DefaultConfig()
			if configFile != "" {
				if config, err = gateway.LoadConfig(configFile); err != nil {
					return err
				}
			}
			options, err := door.options()
			if err != nil {
				return err
			}
			to, err := url.Parse(upstream)
			if err != nil {
				return fmt.Errorf("--upstream: %w", err)
			}
			lis, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			return serveGateway(cmd.Context(), lis, config, to, log, options...)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "`address` for the API's clients")
	f.StringVar(&upstream, "upstream", "", "`URL` of the API behind the gateway")
	f.StringVar(&configFile, "config", "", "configuration `file`")
	door.add(f, "")
	logs.add(cmd)
	return cmd
}

// serveGateway serves until ctx ends, and until what is under way then is answered.
func serveGateway(ctx context.Context, lis net.Listener, config gateway.Config, upstream *url.URL, log *slog.Logger, options ...client.Option) error {
	limiter, err := client.New(config.Limiter, append(options,
		client.WithTimeout(config.Timeout), client.WithPolicy(config.Fail), client.WithLogger(log))...)
	if err != nil {
		lis.Close()
		return err
	}
	defer limiter.Close()
	gw, err := gateway.New(config, upstream, limiter, log)
	if err != nil {
		lis.Close()
		return err
	}
	log.Info("ready", "listen", lis.Addr().String(), "upstream", upstream.Redacted(), "limiter", config.Limiter)
	return gw.Serve(ctx, lis)
}
