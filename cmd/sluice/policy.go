package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/overten/sluice/limiter/policy"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Work with policy files"}
	cmd.AddCommand(newPolicyCheck(), newPolicyHash())
	return cmd
}

func newPolicyCheck() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a policy file and show what it says",
		Long: `Check reads a policy file as a node would. It shows the tiers, or every problem with its
line, and exits with 2 if there is one.`,
		Example: `  sluice policy check policy.yaml
  sluice policy check policy.yaml -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policy.Load(args[0])
			if err != nil {
				return err
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), policyToJSON(p))
			case "text":
				return printPolicy(cmd.OutOrStdout(), p)
			}
			return fmt.Errorf("--output: %q is none of text, json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how the answer reads: text or json")
	return cmd
}

func newPolicyHash() *cobra.Command {
	return &cobra.Command{
		Use:     "hash",
		Short:   "Print the SHA-256 of the key on standard input, as the directory wants it",
		Example: `  printf %s "$API_KEY" | sluice policy hash`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readKey(cmd.InOrStdin())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), policy.HashKey(key))
			return err
		},
	}
}

type policyJSON struct {
	Fingerprint      string     `json:"fingerprint"`
	DefaultTier      string     `json:"default_tier,omitempty"`
	Tiers            []tierJSON `json:"tiers"`
	Keys             int        `json:"keys"`
	Overrides        int        `json:"overrides"`
	RequireKnownKeys bool       `json:"require_known_keys"`
}

type tierJSON struct {
	Name       string      `json:"name"`
	Windows    []limitJSON `json:"windows"`
	Concurrent uint32      `json:"concurrent"`
	MaxBody    int64       `json:"max_body_bytes,omitempty"`
	Shadow     bool        `json:"shadow,omitempty"`
}

type limitJSON struct {
	Limit uint32 `json:"limit"`
	PerMS int64  `json:"per_ms"`
}

func policyToJSON(p *policy.Policy) policyJSON {
	out := policyJSON{Fingerprint: p.Fingerprint(), Keys: p.Keys(), Overrides: p.Overrides(), RequireKnownKeys: p.RequireKnownKeys()}
	if t := p.DefaultTier(); t != nil {
		out.DefaultTier = t.Name()
	}
	for _, t := range p.Tiers() {
		tier := tierJSON{Name: t.Name(), Concurrent: t.Concurrent(), MaxBody: t.MaxBody(), Shadow: t.Shadow()}
		for _, w := range t.Windows() {
			tier.Windows = append(tier.Windows, limitJSON{w.Limit, w.Per.Milliseconds()})
		}
		out.Tiers = append(out.Tiers, tier)
	}
	return out
}

func printPolicy(w io.Writer, p *policy.Policy) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "tier\twindows\truns\tmax body\n")
	for _, tier := range p.Tiers() {
		name := tier.Name()
		if tier == p.DefaultTier() {
			name += " (default)"
		}
		if tier.Shadow() {
			name += " (shadow)"
		}
		var windows []string
		for _, w := range tier.Windows() {
			windows = append(windows, fmt.Sprintf("%d per %v", w.Limit, w.Per))
		}
		body := "any"
		if n := tier.MaxBody(); n > 0 {
			body = fmt.Sprintf("%d bytes", n)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", name, strings.Join(windows, ", "), tier.Concurrent(), body)
	}
	unknown := "served by the tier of the call, or the default"
	if p.RequireKnownKeys() {
		unknown = "refused"
	}
	fmt.Fprintf(t, "\n%d keys in the directory, %d with limits of their own; others are %s\nfingerprint %s\n", p.Keys(), p.Overrides(), unknown, p.Fingerprint())
	return t.Flush()
}
