package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// These are set by the linker for releases: see deploy/image/build.
var (
	version = "devel"
	commit  string
	date    string // of the commit
)

type versionJSON struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
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
			v := versionJSON{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if v.Commit == "" {
				v.Commit, v.Date = fromGit()
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), v)
			case "text":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "sluice %s %s %s (%s, %s/%s)\n", v.Version, v.Commit, v.Date, v.Go, v.OS, v.Arch)
				return err
			}
			return fmt.Errorf("--output: %q is none of text, json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how the answer reads: text or json")
	return cmd
}

// fromGit is what Go wrote into a binary that was built in a git work tree.
func fromGit() (commit, date string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.time":
			date = s.Value
		}
	}
	return commit, date
}
