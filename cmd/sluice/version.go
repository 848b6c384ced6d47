package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases.
var version = "devel"

type versionJSON struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: `  sluice version -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versionJSON{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), v)
			case "text":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "sluice %s %s (%s, %s/%s)\n", v.Version, v.Commit, v.Go, v.OS, v.Arch)
				return err
			}
			return fmt.Errorf("--output: %q is none of text, json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how the answer reads: text or json")
	return cmd
}
