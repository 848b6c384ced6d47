// Command sluice is a rate limiter service, and what goes with it: a gateway, a demo and
// tools for people.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/overten/sluice/server/slack"
)

// Exit codes. A denial has one of its own, so that scripts can tell it from a failure.
const (
	exitDenied = 1
	exitFailed = 2
)

// exitError ends the program with a code of its own. Its text, if any, was printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	root := newRoot()
	if cmd, _, err := root.Find(os.Args[1:]); err == nil && cmd.Name() == "serve" {
		_ = slack.Take() // without it the node costs more, and does the same
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, root, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(root.ErrOrStderr(), "sluice:", err)
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "An exact, distributed rate limiter",
		Long: `Sluice decides whether a request may pass, exactly: no key ever gets more than its
limit in any window, and the wait that a denial names is the true one.

Every flag can also be given in the environment: --max-keys as SLUICE_MAX_KEYS.`,
		Example: `  sluice serve                                    # a node on loopback
  sluice check --key sk_live_abc --tier pro       # may a request pass?
  sluice acquire --key sk_live_abc -- ./job       # run a job within the key's limit of runs
  sluice status                                   # how is the cluster?
  sluice demo                                     # node, gateway and a small API to try`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
	}
	root.AddCommand(newServe(), newGateway(), newDemo(), newCheck(), newAcquire(), newStatus(), newInspect(), newPolicy(), newVersion())
	return root
}

// fromEnvironment sets the flags that were not given from SLUICE_… variables.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "SLUICE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if f.Changed || !ok || f.Name == "help" || err != nil {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	})
	return err
}
