// Command bench measures Sluice beside the empty call that is its floor and beside other limiters,
// as scenario files say: in turns, in one run, on this machine.
//
//	go run ./cmd/bench                          # all scenarios
//	go run ./cmd/bench -only '^unary' -pairs 3  # some, and less sure
//	go run ./cmd/bench -out results             # and write the report: text, JSON and plots
//	go run ./cmd/bench -before ~/sluice-main    # what a change gains
//
// It exits with 0 whatever it measured, and with 1 if it could not measure. Limiters whose program
// is not here are left out, and the report says so: make bench-peers brings them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/overten/sluice/bench/internal/scenario"
	"github.com/overten/sluice/bench/internal/target"
)

// options are what a run can be told.
type options struct {
	scenarios string
	only      *regexp.Regexp
	pairs     int
	period    time.Duration
	warmUp    time.Duration
	out       string
	tools     string
	profiles  string
	before    string
	json      bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == target.ServeEcho {
		exitOn(target.Echo(os.Args[2:]))
		return
	}
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	exitOn(err)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	only := flags.String("only", "", "measure the scenarios whose names match this `regexp`")
	format := flags.String("o", "text", "how to report: text or json")
	flags.StringVar(&o.scenarios, "scenarios", "scenarios", "`directory` of the scenario files")
	flags.IntVar(&o.pairs, "pairs", 0, "turns of each contender, in place of what scenarios say")
	flags.DurationVar(&o.period, "for", 0, "how long each turn is, in place of what scenarios say")
	flags.DurationVar(&o.warmUp, "warmup", 0, "how long each is loaded before, in place of what scenarios say")
	flags.StringVar(&o.out, "out", "", "write report.md, report.json and plots into this `directory`")
	flags.StringVar(&o.tools, "tools", "bin", "`directory` of the programs of other limiters")
	flags.StringVar(&o.profiles, "profiles", "", "write profiles of echoes and nodes into this `directory`")
	flags.StringVar(&o.before, "before", "", "compare Sluice with this other `build` of it, and with nothing else")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if *format != "text" && *format != "json" {
		return o, fmt.Errorf("-o: %q is none of text, json", *format)
	}
	o.json = *format == "json"
	if o.pairs < 0 || o.period < 0 || o.warmUp < 0 {
		return o, errors.New("-pairs, -for and -warmup must not be negative")
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	return o, nil
}

// run measures all, and reports: progress as it goes, to where the result does not go if that is
// for a program to read.
func run(ctx context.Context, o options) (err error) {
	progress := io.Writer(os.Stdout)
	if o.json {
		progress = os.Stderr
	}
	all, err := scenario.Read(o.scenarios, o.only.MatchString)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = tidy(dir, err) }()
	b := &bench{options: o, dir: dir, progress: progress}
	if b.tools, err = findTools(ctx, o.tools, dir); err != nil {
		return err
	}
	if o.before != "" {
		if b.tools.Before, err = filepath.Abs(o.before); err != nil {
			return err
		}
	}
	r := newReport(ctx)
	fmt.Fprintf(progress, "%s, commit %s\n", r.Machine, r.Commit)
	for _, s := range all {
		if o.before != "" {
			s = s.AgainstBefore()
		}
		o.override(&s)
		outcome, err := b.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		r.Scenarios = append(r.Scenarios, outcome)
		if o.out != "" { // what there is so far, as the rest may take an hour
			if err := r.write(o.out); err != nil {
				return err
			}
		}
	}
	if o.json {
		return r.writeJSON(os.Stdout)
	}
	r.writeText(os.Stdout)
	return nil
}

// override lets the flags count in place of what a scenario says.
func (o options) override(s *scenario.Scenario) {
	if o.pairs > 0 {
		s.Pairs = o.pairs
	}
	if o.period > 0 {
		s.For = o.period
	}
	if o.warmUp > 0 {
		s.WarmUp = o.warmUp
	}
}

// findTools builds sluice, and finds the programs of others where they are.
func findTools(ctx context.Context, dir, scratch string) (t target.Tools, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/overten/sluice").Output()
	if err != nil {
		return t, fmt.Errorf("the tree was not found, run this in its folder bench: %w", err)
	}
	t.Sluice = filepath.Join(scratch, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", t.Sluice, "./cmd/sluice")
	build.Dir = strings.TrimSpace(string(out))
	if out, err := build.CombinedOutput(); err != nil {
		return t, fmt.Errorf("building sluice: %w\n%s", err, out)
	}
	find := func(name string) string {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if _, statErr := os.Stat(path); err != nil || statErr != nil {
			return ""
		}
		return path
	}
	t.Gubernator, t.Ratelimit = find("gubernator"), find("ratelimit")
	t.Redis, _ = exec.LookPath("redis-server") // may not be here
	return t, nil
}

// tidy removes what the servers wrote into dir, unless something went wrong: then it tells why.
func tidy(dir string, err error) error {
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w (what the servers wrote is kept in %s)", err, dir)
	}
	return errors.Join(err, os.RemoveAll(dir))
}
