package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/client"
)

// clientFlags say which limiter a command asks, and how its answers are printed.
type clientFlags struct {
	addr    string
	timeout time.Duration
	output  string
	door    doorFlags
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.addr, "addr", "127.0.0.1:7070", "`address` of a node")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Second, "how long to wait for an answer")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "how the answer reads: text or json")
	f.door.add(cmd.Flags(), "")
}

func (f *clientFlags) connect() (*client.Client, error) {
	if f.output != "text" && f.output != "json" {
		return nil, fmt.Errorf("--output: %q is none of text, json", f.output)
	}
	options, err := f.door.options()
	if err != nil {
		return nil, err
	}
	return client.New(f.addr, append(options, client.WithTimeout(f.timeout))...)
}

func newCheck() *cobra.Command {
	var (
		flags     clientFlags
		key, tier string
		cost      uint32
		explain   bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Ask whether a request may pass",
		Long: `Check asks a node whether a request may pass, and counts it if it may.

It exits with 0 if the request is allowed, 1 if it is denied, 2 if nothing was decided.
A key in SLUICE_KEY does not show in the list of processes.`,
		Example: `  sluice check --key sk_live_abc
  sluice check --key sk_live_abc --tier pro --cost 5 --explain
  sluice check --key sk_live_abc --cost 0 -o json      # look, count nothing`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			d, err := c.Check(cmd.Context(), client.CheckRequest{Key: key, Tier: tier, Cost: &cost, Explain: explain})
			if err != nil {
				return readable(err)
			}
			if err := printDecision(cmd.OutOrStdout(), flags.output, d, time.Now()); err != nil {
				return err
			}
			if !d.Allowed {
				return exitError(exitDenied)
			}
			return nil
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the API key that the request counts for")
	f.StringVar(&tier, "tier", "", "the key's tier, if the node does not know it")
	f.Uint32Var(&cost, "cost", 1, "units that the request takes; 0 looks and counts nothing")
	f.BoolVar(&explain, "explain", false, "show each window")
	return cmd
}

// readable returns err as a person would want to read it.
func readable(err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Message != "" {
		return errors.New(e.Message)
	}
	return err
}

// decisionJSON is a decision as -o json prints it, named as in the API.
type decisionJSON struct {
	Allowed      bool         `json:"allowed"`
	Limit        uint32       `json:"limit"`
	Remaining    uint32       `json:"remaining"`
	ResetUnix    int64        `json:"reset_unix"`
	ResetAfterMS int64        `json:"reset_after_ms"`
	RetryAfterMS int64        `json:"retry_after_ms,omitempty"`
	Reason       string       `json:"reason,omitempty"`
	Exactness    string       `json:"exactness"`
	Windows      []windowJSON `json:"windows,omitempty"`
}

type windowJSON struct {
	Limit        uint32 `json:"limit"`
	PerMS        int64  `json:"per_ms"`
	Used         uint32 `json:"used"`
	Remaining    uint32 `json:"remaining"`
	ResetAfterMS int64  `json:"reset_after_ms"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

func toJSON(d client.Decision, now time.Time) decisionJSON {
	out := decisionJSON{
		Allowed: d.Allowed, Limit: d.Limit, Remaining: d.Remaining,
		ResetUnix:    now.Add(d.Reset + time.Second - 1).Unix(),
		ResetAfterMS: d.Reset.Milliseconds(), RetryAfterMS: d.RetryAfter.Milliseconds(),
		Exactness: d.Exactness.String(),
	}
	if !d.Allowed {
		out.Reason = d.Reason.String()
	}
	for _, w := range d.Windows {
		out.Windows = append(out.Windows, windowJSON{
			Limit: w.Limit, PerMS: w.Per.Milliseconds(), Used: w.Used, Remaining: w.Remaining,
			ResetAfterMS: w.Reset.Milliseconds(), RetryAfterMS: w.RetryAfter.Milliseconds(),
		})
	}
	return out
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printDecision(w io.Writer, output string, d client.Decision, now time.Time) error {
	if output == "json" {
		return printJSON(w, toJSON(d, now))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, verdict(d.Allowed, d.Reason))
	fmt.Fprintf(t, "remaining\t%d of %d\n", d.Remaining, d.Limit)
	if d.Reset > 0 {
		fmt.Fprintf(t, "reset\tin %v, at %s\n", d.Reset, now.Add(d.Reset).Format(time.TimeOnly))
	}
	if d.RetryAfter > 0 {
		fmt.Fprintf(t, "retry after\t%v\n", d.RetryAfter)
	}
	if d.Exactness != client.Exact {
		fmt.Fprintf(t, "exactness\t%v\n", d.Exactness)
	}
	if len(d.Windows) > 0 {
		fmt.Fprint(t, "\nwindow\tused\tremaining\tgrows in\n")
	}
	for _, win := range d.Windows {
		fmt.Fprintf(t, "%d per %v\t%d\t%d\t%v\n", win.Limit, win.Per, win.Used, win.Remaining, win.Reset)
	}
	return t.Flush()
}

func verdict(allowed bool, reason client.Reason) string {
	if allowed {
		return "allowed"
	}
	return "denied: " + strings.ReplaceAll(reason.String(), "_", " ")
}
