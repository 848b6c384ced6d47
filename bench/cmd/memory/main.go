// Command memory measures what a key costs in memory: the resident size of processes
// that hold a limiter.Table with so many keys, read by this one from the operating system.
//
//	go run ./cmd/memory
//	go run ./cmd/memory -from 800000 -to 1200000 -step 10000 -o json
//
// It exits with 0 whatever it measured, and with 1 if it could not measure.
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
	"syscall"
)

// options are what a measurement can be told.
type options struct {
	from, to, step int // how many keys with few hits
	full           int // how many keys with a full window
	json           bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "hold" { // this is one of the processes that hold keys
		exitOn(hold(os.Args[2:]))
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
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.IntVar(&o.from, "from", 800_000, "the least number of keys with 4 hits each")
	flags.IntVar(&o.to, "to", 1_200_000, "the largest")
	flags.IntVar(&o.step, "step", 50_000, "how far apart the numbers are")
	flags.IntVar(&o.full, "full", 50_000, "keys with a full window of 600 hits each")
	format := flags.String("o", "text", "how to report: text or json")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case o.from < 1 || o.to < o.from || o.step < 1:
		return o, errors.New("-from, -to and -step must be positive, and -to not below -from")
	case o.full < 1:
		return o, errors.New("-full must be positive")
	case *format != "text" && *format != "json":
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
	fmt.Fprintf(progress, "%s, %s/%s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	r, err := measure(ctx, o, progress)
	if err != nil {
		return err
	}
	if o.json {
		return r.writeJSON(os.Stdout)
	}
	r.writeText(os.Stdout)
	return nil
}
