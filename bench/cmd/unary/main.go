// Command unary measures what one decision costs a node beyond the call that carries it:
// Check on a Sluice node against a gRPC server that answers the same calls without doing
// anything, in turns, by the processor time of the server.
//
//	go run ./cmd/unary
//	go run ./cmd/unary -pairs 20 -against same,same -o json
//
// Each server is a process of its own, started and ended by this one. It exits with 0
// whatever it measured, and with 1 if it could not measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are what a measurement can be told.
type options struct {
	against  []string // the names of the yardsticks
	pairs    int
	period   time.Duration
	warmUp   time.Duration
	workers  int
	conns    int
	keys     int
	deadline time.Duration
	profiles string // directory for profiles, or ""
	json     bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" { // this is one of the servers
		exitOn(serve(os.Args[2:]))
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
		fmt.Fprintln(os.Stderr, "unary:", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("unary", flag.ContinueOnError)
	flags.SetOutput(usage)
	against := flags.String("against", "same,plain,bare", "yardsticks, separated by commas: same (served with Sluice's options, with as large a heap), plain (that, with grpc-go's codec and connections), bare (same, with an empty heap); one given twice shows the noise")
	format := flags.String("o", "text", "how to report: text or json")
	flags.IntVar(&o.pairs, "pairs", 10, "how often each is measured")
	flags.DurationVar(&o.period, "for", 2*time.Second, "how long each time")
	flags.DurationVar(&o.warmUp, "warmup", 3*time.Second, "how long each is loaded before")
	flags.IntVar(&o.workers, "workers", 64, "calls under way at a time")
	flags.IntVar(&o.conns, "conns", 4, "connections that carry them")
	flags.IntVar(&o.keys, "keys", 100_000, "keys, taken at random")
	flags.DurationVar(&o.deadline, "deadline", time.Second, "deadline of each call")
	flags.StringVar(&o.profiles, "profiles", "", "write processor and allocation profiles of each server into this `directory`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.against = strings.Split(*against, ",")
	for _, name := range o.against {
		if _, ok := servers[name]; !ok || name == sluice {
			return o, fmt.Errorf("-against: %q is none of same, plain, bare", name)
		}
	}
	for name, wrong := range map[string]bool{
		"-pairs": o.pairs < 1, "-for": o.period <= 0, "-warmup": o.warmUp < 0, "-workers": o.workers < 1,
		"-conns": o.conns < 1, "-keys": o.keys < 1, "-deadline": o.deadline <= 0,
	} {
		if wrong {
			return o, fmt.Errorf("%s is too small", name)
		}
	}
	if *format != "text" && *format != "json" {
		return o, fmt.Errorf("-o: %q is none of text, json", *format)
	}
	o.json = *format == "json"
	return o, nil
}

// run measures and reports: progress as it goes, to where the result does not go if that
// is for a program to read.
func run(ctx context.Context, o options) error {
	progress := io.Writer(os.Stdout)
	if o.json {
		progress = os.Stderr
	}
	fmt.Fprintf(progress, "%d pairs of %v, %d workers over %d connections, %d keys, deadline %v\n%s, %d processors%s\n\n",
		o.pairs, o.period, o.workers, o.conns, o.keys, o.deadline, runtime.Version(), runtime.NumCPU(), loadAverage())
	rounds, err := measure(ctx, o, progress)
	if err != nil {
		return err
	}
	r := summarise(o, rounds)
	if o.json {
		return r.writeJSON(os.Stdout)
	}
	r.writeText(os.Stdout)
	return nil
}

// loadAverage tells what else the machine was doing when the measurement began.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return ", load average before " + strings.Join(strings.Fields(string(b))[:3], " ")
}
