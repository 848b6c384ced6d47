package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/limiter"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

func newInspect() *cobra.Command {
	var (
		flags     adminFlags
		key, tier string
		reset     bool
	)
	cmd := &cobra.Command{
		Use:   "inspect --key KEY",
		Short: "Show what counts against a key, and who decides for it",
		Long: `Inspect asks a node, any of them, for all that the cluster knows of a key: what each window
counts, when units were admitted, which runs hold a slot, where the key is decided and how
sure that is. It counts nothing.

It exits with 0 if the key was explained, also if nothing is known of it, else with 2.
With --key - the key is read from standard input, and shows neither in the history of the
shell nor in the list of processes; a key in SLUICE_KEY shows in neither, too.`,
		Example: `  sluice inspect --key sk_live_abc
  sluice inspect --key sk_live_abc --tier pro -o json
  pass show api/key | sluice inspect --key - --admin 10.0.0.2:7090
  sluice inspect --key sk_live_abc --reset            # show it, then forget what it used`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if key == "-" {
				var err error
				if key, err = readKey(cmd.InOrStdin()); err != nil {
					return err
				}
			}
			admin, err := flags.connect()
			if err != nil {
				return err
			}
			defer admin.Close()
			out, err := inspect(cmd, admin, key, tier, reset)
			if err != nil {
				return admin.readable(err)
			}
			if flags.output == "json" {
				return printJSON(cmd.OutOrStdout(), out)
			}
			return printKey(cmd.OutOrStdout(), out)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the API key; -: the one on standard input")
	f.StringVar(&tier, "tier", "", "the key's tier, if the node does not know it")
	f.BoolVar(&reset, "reset", false, "afterwards forget what was admitted to the key, so that all of its limit is free")
	return cmd
}

// readKey reads a key, without the end of its line.
func readKey(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, limiter.MaxKeyLen+3))
	if err != nil {
		return "", err
	}
	key := strings.TrimRight(string(b), "\r\n")
	if key == "" || len(key) > limiter.MaxKeyLen {
		return "", fmt.Errorf("the key on standard input must have 1 to %d bytes", limiter.MaxKeyLen)
	}
	return key, nil
}

// inspect asks for a key, and resets it then if that is wanted.
func inspect(cmd *cobra.Command, admin *adminClient, key, tier string, reset bool) (keyJSON, error) {
	ctx, cancel := admin.bounded(cmd.Context())
	defer cancel()
	resp, err := admin.Inspect(ctx, &adminv1.InspectRequest{Key: key, Tier: tier})
	if err != nil {
		return keyJSON{}, err
	}
	out := keyOf(resp)
	if reset {
		r, err := admin.Reset(ctx, &adminv1.ResetRequest{Key: key})
		if err != nil {
			return keyJSON{}, err
		}
		found := r.GetFound()
		out.Reset = &found
	}
	return out, nil
}

func printKey(w io.Writer, k keyJSON) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "identity\t%s\n", k.Identity)
	fmt.Fprintf(t, "tier\t%s\n", tierLine(k))
	fmt.Fprintf(t, "held by\t%s, partition %d, generation %s%s\n", dash(k.Holder), k.Partition, dash(k.Generation), ifNot(k.Permitted, ", NOT permitted at the moment: calls wait"))
	copies := strings.Join(k.Copies, ", ")
	if copies == "" {
		copies = "none: a crash of the holder loses what is below"
	}
	fmt.Fprintf(t, "copied by\t%s\n", copies)
	fmt.Fprintf(t, "exactness\t%s\n", dash(k.Exactness))
	if len(k.Windows) > 0 {
		fmt.Fprint(t, "\nwindow\tused\tremaining\tgrows in\n")
	}
	least, most := ifNot(!k.Truncated, "at least "), ifNot(!k.Truncated, "at most ") // what is left out counts too
	for _, win := range k.Windows {
		grows := "-"
		if win.ResetAfterMS > 0 {
			grows = most + millis(win.ResetAfterMS).String()
		}
		fmt.Fprintf(t, "%d per %v\t%s%d\t%s%d\t%s\n", win.Limit, millis(win.PerMS), least, win.Used, most, win.Remaining, grows)
	}
	err := t.Flush()
	printHistory(w, k)
	err = errors.Join(err, printLeases(w, k))
	if k.Reset != nil {
		fmt.Fprintln(w, resetLine(*k.Reset))
	}
	return err
}

func tierLine(k keyJSON) string {
	switch k.Status {
	case "active":
		return k.Tier
	case "unknown":
		return "none: the directory does not list the key, and all its requests are denied"
	}
	return fmt.Sprintf("%s, but the key is %s: all its requests are denied", k.Tier, k.Status)
}

func ifNot(is bool, text string) string {
	if is {
		return ""
	}
	return text
}

func resetLine(found bool) string {
	if found {
		return "\nreset: what was admitted is forgotten"
	}
	return "\nreset: there was nothing to forget"
}

func printLeases(w io.Writer, k keyJSON) error {
	switch {
	case k.Status == "unknown" && len(k.Leases) == 0:
		return nil
	case k.Tier == "":
		fmt.Fprintf(w, "\nruns: %d\n", len(k.Leases))
	default:
		fmt.Fprintf(w, "\nruns: %d of %d\n", len(k.Leases), k.Concurrent)
	}
	if len(k.Leases) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "  run\ttask\trequest\ttier\tage\texpires in\n")
	for _, l := range k.Leases {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", quoted(l.RunID), quoted(l.TaskID), quoted(l.RequestID), l.Tier, brief(millis(l.AgeMS)), millis(l.ExpiresInMS))
	}
	return t.Flush()
}

// quoted keeps what callers have chosen from writing to a terminal what they like.
func quoted(s string) string {
	if s == "" {
		return "-"
	}
	return fmt.Sprintf("%q", s)
}
