package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/demo"
	"github.com/overten/sluice/server"
)

func newDemo() *cobra.Command {
	var (
		listen, grpcAddr string
		logs             logFlags
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a node, a gateway and a small API in one process, to try",
		Long: `Demo runs a node, a gateway and a small API behind it on loopback, with keys that
everybody knows. It prints what to try, and ends on SIGINT or SIGTERM.`,
		Example: `  sluice demo
  curl -i -H 'Authorization: Bearer sk_live_demo_free' http://127.0.0.1:8080/verify`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), listen, grpcAddr, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "`address` of the gateway")
	f.StringVar(&grpcAddr, "grpc", "127.0.0.1:7070", "`address` of the node")
	logs.add(cmd)
	return cmd
}

// runDemo starts the node, the API and the gateway, and ends them in the reverse order:
// whoever calls ends before whom it calls.
func runDemo(ctx context.Context, out io.Writer, listen, grpcAddr string, log *slog.Logger) error {
	config, err := demo.GatewayConfig()
	if err != nil {
		return err
	}
	node, err := server.Start(server.Config{GRPC: grpcAddr, Policy: config.Policy, MaxKeys: 100_000, Log: log})
	if err != nil {
		return err
	}
	defer shutdown(ctx, node.Shutdown)

	worker, err := client.New(node.Addr(), client.WithLogger(log))
	if err != nil {
		return err
	}
	defer worker.Close()
	api := demo.NewUpstream(worker)
	defer api.Close()
	apiServer := &http.Server{Handler: api, ReadHeaderTimeout: 10 * time.Second}
	apiListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		if err := apiServer.Serve(apiListener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the demo's API ended", "error", err)
		}
	}()
	defer shutdown(ctx, apiServer.Shutdown)

	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	config.Limiter = node.Addr()
	greet(out, lis.Addr().String())
	return serveGateway(ctx, lis, config, &url.URL{Scheme: "http", Host: apiListener.Addr().String()}, log)
}

// shutdown gives f its time although ctx has ended.
func shutdown(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	_ = f(ctx)
}

func greet(out io.Writer, addr string) {
	fmt.Fprintf(out, `An API behind Sluice is at http://%[1]s. Its keys are %[2]s (10 requests a
minute, 2 runs at a time), %[3]s (60, 10), %[4]s (600, 50),
%[5]s and %[6]s. Try:

  curl -i -H 'Authorization: Bearer %[2]s' http://%[1]s/verify
  curl -i -H 'Authorization: Bearer %[2]s' http://%[1]s/excel/generate -d '{"ms": 5000}'
  curl -i -H 'Authorization: Bearer %[3]s' http://%[1]s/excel/generate -d '{"ms": 5000, "async": true}'
  curl -i -H 'Authorization: Bearer %[3]s' 'http://%[1]s/verify?fail=insufficient_credits'

Ctrl-C ends it.
`, addr, demo.KeyFree, demo.KeyPro, demo.KeyEnterprise, demo.KeySuspended, demo.KeyRevoked)
}
