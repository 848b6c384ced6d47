package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/client"
)

// killDelay is how long a job may take to end after SIGTERM.
const killDelay = 10 * time.Second

func newAcquire() *cobra.Command {
	var (
		flags      clientFlags
		req        client.AcquireRequest
		cost       uint32
		killOnLoss bool
	)
	cmd := &cobra.Command{
		Use:   "acquire --key KEY [flags] -- COMMAND [ARG...]",
		Short: "Hold a run's slot while a command runs",
		Long: `Acquire takes a slot for one run, runs the command, and frees the slot when that ends.
While it runs the lease is renewed; the command finds its id in SLUICE_LEASE_ID.

It exits as the command does, with 1 if the run is denied, or with 2 if nothing was
decided. SIGTERM, SIGINT and SIGHUP (unless nohup had it ignored) end the command by
SIGTERM, and if it is there 10 s later by SIGKILL.`,
		Example: `  sluice acquire --key sk_live_abc --tier pro -- ./job --fast
  sluice acquire --key sk_live_abc --run nightly --request-cost 1 -- make report`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			defer untilHangup(cmd)()
			if req.RunID == "" {
				req.RunID = "run_" + rand.Text()
			}
			if cmd.Flags().Changed("request-cost") {
				req.RequestCost = &cost
			}
			g, err := c.Acquire(cmd.Context(), req)
			if err != nil {
				return readable(err)
			}
			if !g.Granted {
				if err := printGrant(cmd, flags.output, g); err != nil {
					return err
				}
				return exitError(exitDenied)
			}
			defer func() {
				if err := g.Lease.Release(cmd.Context()); err != nil {
					fmt.Fprintln(cmd.ErrOrStderr(), "sluice: the slot was not freed and will be when its lease expires:", err)
				}
			}()
			return hold(cmd, g.Lease, args, killOnLoss)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&req.Key, "key", "", "the API key that the run counts for")
	f.StringVar(&req.Tier, "tier", "", "the key's tier, if the node does not know it")
	f.StringVar(&req.RunID, "run", "", "name of the run, unique within its key (default random)")
	f.StringVar(&req.TaskID, "task", "", "task that the run belongs to, for support")
	f.DurationVar(&req.TTL, "ttl", client.DefaultTTL, "how long the slot stays taken if this program dies, 1s to 10m")
	f.Uint32Var(&cost, "request-cost", 0, "units of the tier's windows to take in the same step (default: they are not asked)")
	f.BoolVar(&killOnLoss, "kill-on-loss", false, "end the command if its lease is lost, rather than only say so")
	f.SetInterspersed(false)
	return cmd
}

// untilHangup lets the terminal's end be the command's too: else the job would go on without its
// slot. It returns what ends that.
func untilHangup(cmd *cobra.Command) (stop func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return func() {} // as by nohup
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	cmd.SetContext(ctx)
	return stop
}

// hold runs the command while the lease is held.
func hold(cmd *cobra.Command, lease *client.Lease, args []string, killOnLoss bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	job := exec.CommandContext(ctx, args[0], args[1:]...)
	job.Stdin, job.Stdout, job.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	job.Env = append(os.Environ(), "SLUICE_LEASE_ID="+lease.ID())
	job.Cancel = func() error { return job.Process.Signal(syscall.SIGTERM) }
	job.WaitDelay = killDelay
	if err := job.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
		case <-lease.Lost():
			fmt.Fprintln(cmd.ErrOrStderr(), "sluice: the lease is lost, another run may have its slot:", lease.Err())
			if killOnLoss {
				cancel()
			}
		}
	}()
	err := job.Wait()
	close(done)
	if err != nil && job.ProcessState != nil && job.ProcessState.Success() {
		return nil // it was told to end, and did
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitError(exitCode(exit))
	}
	return err
}

// exitCode returns what a shell would report: 128 and the signal's number for a command
// that a signal ended.
func exitCode(exit *exec.ExitError) int {
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return exit.ExitCode()
}

type grantJSON struct {
	Granted      bool          `json:"granted"`
	InUse        uint32        `json:"in_use"`
	Limit        uint32        `json:"limit"`
	RetryAfterMS int64         `json:"retry_after_ms,omitempty"`
	Reason       string        `json:"reason,omitempty"`
	Exactness    string        `json:"exactness"`
	Decision     *decisionJSON `json:"decision,omitempty"`
}

// printGrant prints a denial. A run that is granted has the output to itself.
func printGrant(cmd *cobra.Command, output string, g client.Grant) error {
	if output == "json" {
		out := grantJSON{
			Granted: g.Granted, InUse: g.InUse, Limit: g.Limit, RetryAfterMS: g.RetryAfter.Milliseconds(),
			Reason: g.Reason.String(), Exactness: g.Exactness.String(),
		}
		if g.Decision.Decided() {
			d := toJSON(g.Decision, time.Now())
			out.Decision = &d
		}
		return printJSON(cmd.OutOrStdout(), out)
	}
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "%s\n%d of %d runs in use\n", verdict(false, g.Reason), g.InUse, g.Limit)
	if g.RetryAfter > 0 {
		fmt.Fprintf(w, "retry after %v\n", g.RetryAfter)
	}
	return nil
}
