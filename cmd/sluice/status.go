package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin/health"
)

// Exit codes of status. It is asked by scripts that wait for a cluster to settle.
const (
	exitUnreachable = 1
	exitUnhealthy   = 2
)

// clearScreen moves a terminal's cursor home and clears all.
const clearScreen = "\x1b[H\x1b[2J"

func newStatus() *cobra.Command {
	var (
		flags adminFlags
		watch bool
		every time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the nodes of a cluster are",
		Long: `Status asks a node, any of them, how all members of its cluster are. The first line says
whether all is well; if not, what is amiss follows. Of partitions the table tells how many
a member

  owned     should decide for, by its view of the cluster
  held      decides for; other than owned while partitions move
  waiting   holds without being permitted to decide at the moment: calls wait
  copies    has a copy of, for the case that their holder dies
  uncopied  holds without anybody having a copy

lag is how far behind its copies are, keys how many it has in memory.

It exits with 0 if the cluster is healthy: all members answer, serve and agree, every
partition is held and permitted, and has a copy if there is more than one member. It exits
with 1 if the node cannot be asked, with 2 if the cluster is not healthy. With --watch it
exits with 0 when it is interrupted.`,
		Example: `  sluice status
  sluice status --admin 10.0.0.2:7090 -o json
  sluice status --watch
  until sluice status; do sleep 1; done           # after a restart: wait for the cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := flags.connect()
			if err != nil {
				return unreachable(cmd, err)
			}
			defer admin.Close()
			if watch {
				return watchStatus(cmd, admin, flags.output, every)
			}
			healthy, err := showStatus(cmd, admin, cmd.OutOrStdout(), flags.output)
			switch {
			case err != nil:
				return unreachable(cmd, err)
			case !healthy:
				return exitError(exitUnhealthy)
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(unreachable)
	flags.add(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again until interrupted; as JSON, one line each time")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how long --watch waits in between")
	return cmd
}

// unreachable tells why the node was not asked, which says nothing of how the cluster is.
func unreachable(cmd *cobra.Command, err error) error {
	fmt.Fprintln(cmd.ErrOrStderr(), "sluice:", err)
	return exitError(exitUnreachable)
}

// showStatus asks once and prints the answer.
func showStatus(cmd *cobra.Command, admin *adminClient, w io.Writer, output string) (healthy bool, err error) {
	ctx, cancel := admin.bounded(cmd.Context())
	defer cancel()
	resp, err := admin.Members(ctx, &adminv1.MembersRequest{})
	if err != nil {
		return false, admin.readable(err)
	}
	s := statusOf(resp)
	if output == "json" {
		return s.Healthy, printJSON(w, s)
	}
	return s.Healthy, printStatus(w, s)
}

// watchStatus asks and prints until it is interrupted. A node that cannot be asked is told
// and asked again.
func watchStatus(cmd *cobra.Command, admin *adminClient, output string, every time.Duration) error {
	if every <= 0 {
		return fmt.Errorf("--every: is %v, must be above 0", every)
	}
	out := cmd.OutOrStdout()
	var between string // what goes before all but the first
	if output == "text" {
		between = "\n"
		if isTerminal(out) {
			between = clearScreen
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		var page bytes.Buffer // written at once, so that a terminal does not flicker
		if !first {
			page.WriteString(between)
		}
		err := showPage(cmd, admin, &page, output)
		if cmd.Context().Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "sluice:", err)
		} else if _, err := out.Write(page.Bytes()); err != nil {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// showPage is showStatus, with all of a JSON answer on one line.
func showPage(cmd *cobra.Command, admin *adminClient, page *bytes.Buffer, output string) error {
	if output != "json" {
		_, err := showStatus(cmd, admin, page, output)
		return err
	}
	var indented bytes.Buffer
	if _, err := showStatus(cmd, admin, &indented, output); err != nil {
		return err
	}
	if err := json.Compact(page, indented.Bytes()); err != nil {
		return err
	}
	return page.WriteByte('\n')
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printStatus(w io.Writer, s statusJSON) error {
	fmt.Fprintln(w, s.headline)
	for _, p := range s.Problems {
		fmt.Fprintln(w, "  "+p)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "name\tstate\taddress\tuptime\towned\theld\twaiting\tcopies\tuncopied\tlag\tkeys\tpolicy\tview\n")
	for _, m := range s.Members {
		if m.Error != "" {
			fmt.Fprintf(t, "%s\tno answer\t%s\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\n", m.Name, dash(m.GRPC))
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%dms\t%d\t%s\t%s\n",
			m.Name, m.State, dash(m.GRPC), brief(millis(m.UptimeMS)), m.Owned, m.Held, m.Waiting, m.Copies, m.Uncopied,
			m.CopyLagMS, m.Keys, health.Short(m.Policy), health.Short(m.View))
	}
	return t.Flush()
}
