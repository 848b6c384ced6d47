// Command chaos shows what a cluster of Sluice keeps of its promises when nodes come and go,
// crash, stall and lose each other: with real processes, under steady load, judged from
// outside.
//
//	go run ./cmd/chaos
//	go run ./cmd/chaos -events 'kill|pause' -repeat 20 -seed 7
//	go run ./cmd/chaos -short -o json
//
// Each repetition has a cluster of its own: nodes on loopback or, where their cables are to
// be cut, each in a network namespace. Half of the keys are asked for by gateways with a
// deadline of 5 s, half by gateways with 50 ms; of each two, one gateway has the Go client,
// which knows where keys are decided, and one only gRPC and a list of addresses. All keys
// have part of their limit used when the event comes. Afterwards each is asked for until it
// is denied, so that whatever was forgotten, or counted twice, shows.
//
// It exits with 0 if all bounds held, with 1 if one was broken or something could not be
// measured. Then it names folders with the nodes' logs and all that was asked for the keys
// concerned.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/process"
)

// options are what the program can be told.
type options struct {
	events *regexp.Regexp
	repeat int
	minute int // repetitions with windows of a minute
	short  bool
	keys   int
	rate   int
	least  int // of members, for all events
	seed   uint64
	binary string
	logs   string
	keep   bool
	json   bool
	leadIn time.Duration // load before an event
	tail   time.Duration // and after it
	pause  time.Duration // how long a node is paused
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] { // this is one of the programs that it starts
		case spinCommand:
			spin()
			return
		case stallCommand:
			process.WatchStalls()
			return
		}
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
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(usage)
	var names []string
	for _, e := range events {
		names = append(names, e.name)
	}
	pattern := flags.String("events", "", "`regexp` of the events to play, of "+strings.Join(names, ", ")+"; default all")
	format := flags.String("o", "text", "how to report: text or json")
	flags.IntVar(&o.repeat, "repeat", 5, "how often each is played with windows of 10 minutes")
	flags.IntVar(&o.minute, "minute", 1, "and with windows of a minute, which takes more than a minute each time")
	flags.BoolVar(&o.short, "short", false, "a short form: few events, once, with fewer keys")
	flags.IntVar(&o.keys, "keys", 3000, "keys")
	flags.IntVar(&o.rate, "rate", 1500, "calls a second, of all gateways")
	flags.IntVar(&o.least, "min-members", 0, "the nodes' --min-members, where an event has no greater one: for events that begin with three nodes")
	flags.Uint64Var(&o.seed, "seed", 0, "of all that is random; 0: another one each time")
	flags.StringVar(&o.binary, "binary", "", "the sluice to run; default: built from this tree")
	flags.StringVar(&o.logs, "logs", "", "`folder` for logs; default: a new one in the system's for temporary files")
	flags.BoolVar(&o.keep, "keep", false, "keep logs also when all bounds held")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	o.leadIn, o.tail, o.pause = 2*time.Second, 5*time.Second, 10*time.Second
	if o.short {
		o.leadIn, o.tail, o.pause = time.Second, 3*time.Second, 3*time.Second
		for name, value := range map[string]*int{"keys": &o.keys, "repeat": &o.repeat, "minute": &o.minute} {
			if !given[name] {
				*value = map[string]int{"keys": 1000, "repeat": 1, "minute": 0}[name]
			}
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.events, err = regexp.Compile("^(?:" + *pattern + ")$"); *pattern == "" {
		o.events = regexp.MustCompile("")
	} else if err != nil {
		return o, fmt.Errorf("-events: %w", err)
	}
	switch {
	case o.repeat < 0 || o.minute < 0 || o.repeat+o.minute == 0:
		return o, errors.New("-repeat and -minute must not be negative, nor both 0")
	case o.keys < groups || o.rate < 1:
		return o, fmt.Errorf("-keys must be at least %d, -rate positive", groups)
	case *format != "text" && *format != "json":
		return o, fmt.Errorf("-o: %q is none of text, json", *format)
	}
	o.json = *format == "json"
	return o, nil
}

var errBroken = errors.New("bounds were broken")

// run plays and reports: progress as it goes, to where the result does not go if that is
// for a program to read.
func run(ctx context.Context, o options) (err error) {
	progress := io.Writer(os.Stdout)
	if o.json {
		progress = os.Stderr
	}
	if o.logs == "" {
		if o.logs, err = os.MkdirTemp("", "sluice-chaos-"); err != nil {
			return err
		}
	}
	if o.logs, err = filepath.Abs(o.logs); err != nil {
		return err
	}
	tools := filepath.Join(o.logs, "bin")
	defer func() { err = errors.Join(err, os.RemoveAll(tools)) }()
	if err := os.MkdirAll(tools, 0o700); err != nil {
		return err
	}
	if o.binary == "" {
		if o.binary, err = build(ctx, tools); err != nil {
			return err
		}
	}
	fmt.Fprintf(progress, "%s, %d processors, %d keys, %d calls a second, seed %d, logs in %s\n\n", runtime.Version(), runtime.NumCPU(), o.keys, o.rate, o.seed, o.logs)
	results, skipped, err := playAll(ctx, o, progress)
	holds := err == nil
	for _, r := range results {
		holds = holds && len(r.Broken) == 0
	}
	if o.json {
		err = errors.Join(err, writeJSON(os.Stdout, document{Holds: holds, Seed: o.seed, Skipped: skipped, Results: results}))
	} else if len(results) > 0 {
		writeTable(os.Stdout, rowsOf(results))
		for _, s := range skipped {
			fmt.Println(s)
		}
	}
	if err != nil {
		return err
	}
	if !holds {
		return fmt.Errorf("%w: see %s", errBroken, o.logs)
	}
	if !o.keep {
		return os.RemoveAll(o.logs)
	}
	return nil
}

// build builds sluice from the tree that this program is of.
func build(ctx context.Context, dir string) (path string, err error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/overten/sluice").Output()
	if err != nil {
		return "", fmt.Errorf("the tree was not found, run this in its folder bench: %w", err)
	}
	path = filepath.Join(dir, "sluice")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/sluice")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building sluice: %w\n%s", err, out)
	}
	return path, nil
}

// playAll plays all events that are wanted and possible, and says which are not.
func playAll(ctx context.Context, o options, progress io.Writer) (results []result, skipped []string, err error) {
	noNamespaces := fleet.NamespacesWork()
	for _, e := range events {
		if !o.events.MatchString(e.name) || o.short && !e.short {
			continue
		}
		if e.namespaces && noNamespaces != nil {
			skipped = append(skipped, fmt.Sprintf("%s: not possible here: %v", e.name, noNamespaces))
			continue
		}
		for i := range o.repeat + o.minute {
			window := 10 * time.Minute
			if i >= o.repeat {
				window = time.Minute
			}
			r, err := play(ctx, o, e, i, window, progress)
			if err != nil {
				return results, skipped, fmt.Errorf("%s: %w", e.name, err)
			}
			results = append(results, r)
		}
	}
	if len(results)+len(skipped) == 0 {
		return nil, nil, errors.New("-events: no event has such a name")
	}
	return results, skipped, nil
}

// play plays an event once.
func play(ctx context.Context, o options, e event, repetition int, window time.Duration, progress io.Writer) (result, error) {
	dir := filepath.Join(o.logs, fmt.Sprintf("%s-%d", e.name, repetition+1))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return result{}, err
	}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(progress, "%s  %s %d: %s\n", time.Now().Format(gateway.ClockFormat), e.name, repetition+1, fmt.Sprintf(format, args...))
	}
	s := &stage{
		Desk: &gateway.Desk{Keys: gateway.MakeKeys(keysFor(o, window)), Log: audit.NewLog()}, options: o, event: e, window: window, dir: dir, say: say,
		random: rand.New(rand.NewPCG(o.seed, uint64(crc32.ChecksumIEEE([]byte(e.name)))<<32|uint64(repetition))),
		result: result{Event: e.name, Window: window, Repetition: repetition + 1, Broken: []string{}},
	}
	err := s.run(ctx)
	r := s.result
	if err != nil {
		return r, fmt.Errorf("%w (logs in %s)", err, dir)
	}
	say("%d of %d and %d of %d calls failed, over %d, denied early %d, p99 %s, others had %.0f %% of the processors, stood still %s, took %s", r.Failed[patient], r.Calls[patient], r.Failed[impatient], r.Calls[impatient],
		r.Over, r.Early, span(r.P99), 100*r.Others, span(r.Stalled), span(time.Since(began)))
	for _, d := range r.Details {
		fmt.Fprintln(progress, "      "+d)
	}
	if len(r.Broken)+len(r.Slow) == 0 {
		if !o.keep {
			return r, os.RemoveAll(dir)
		}
		return r, nil
	}
	r.Logs = dir
	for _, b := range r.Slow {
		say("slower than it should be, which the short form does not judge: %s", b)
	}
	for _, b := range r.Broken {
		say("BROKEN: %s", b)
	}
	say("logs and timeline in %s", dir)
	return r, nil
}

// keysFor is how many keys there are: with windows of a minute few enough that the load
// keeps them at their limit.
func keysFor(o options, window time.Duration) int {
	if window > time.Minute {
		return o.keys
	}
	return max(groups, min(o.keys, o.rate*int(window/time.Second)/(limit+limit/4)))
}
