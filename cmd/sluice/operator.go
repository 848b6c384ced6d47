package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// adminFlags say which node an operator's command asks, and how its answers are printed.
type adminFlags struct {
	addr    string
	timeout time.Duration
	output  string
	door    doorFlags
}

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.addr, "admin", "127.0.0.1:7090", "operators' `address` of a node")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "how the answer reads: text or json")
	f.door.add(cmd.Flags(), "admin-")
}

// adminClient asks one node on its port for operators.
type adminClient struct {
	adminv1.AdminServiceClient
	*grpc.ClientConn
	adminFlags
}

func (f *adminFlags) connect() (*adminClient, error) {
	if f.output != "text" && f.output != "json" {
		return nil, fmt.Errorf("--output: %q is none of text, json", f.output)
	}
	options, err := f.door.dial()
	if err != nil {
		return nil, err
	}
	const most = 64 << 20 // a key may have a hundred thousand leases
	conn, err := grpc.NewClient(f.addr, append(options, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most)))...)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	return &adminClient{adminv1.NewAdminServiceClient(conn), conn, *f}, nil
}

// bounded returns a context for one call.
func (c *adminClient) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// readable returns the error of a call as a person would want to read it.
func (c *adminClient) readable(err error) error {
	st := status.Convert(err)
	switch st.Code() {
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s did not answer within %v", c.addr, c.timeout)
	case codes.Unimplemented:
		return fmt.Errorf("%s is not an operators' address of a node: see --admin", c.addr)
	}
	if _, why, ok := strings.Cut(st.Message(), "Error while dialing: "); ok {
		return fmt.Errorf("%s cannot be asked: %s", c.addr, strings.TrimSuffix(why, `"`))
	}
	return fmt.Errorf("%s: %s", c.addr, st.Message())
}

// enumName returns a value of an enum as people write it: NODE_STATE_SERVING as "serving",
// and what is not specified as "".
func enumName(v fmt.Stringer, prefix string) string {
	name := strings.ToLower(strings.TrimPrefix(v.String(), prefix))
	if name == "unspecified" {
		return ""
	}
	return name
}

// dash stands for what is not there, so that columns stay where they are.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func millis[N uint32 | uint64](ms N) time.Duration { return time.Duration(ms) * time.Millisecond }

// brief returns d in its two largest units, as it is to be read and not reckoned with.
func brief(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= 10*time.Second:
		return d.Truncate(time.Second).String()
	}
	return d.Truncate(100 * time.Millisecond).String()
}
