// Command rehearse plays on one machine what happens to Sluice as a StatefulSet: first starts,
// upgrades and the way back, scaling, evictions, lost nodes, DNS that is late or wrong, and a
// pod that is cut off; with real processes, under load, judged from outside.
//
//	go run ./cmd/rehearse
//	go run ./cmd/rehearse -acts 'upgrade|downgrade' -from HEAD~10
//	go run ./cmd/rehearse -short -o json
//
// Each act has a cluster of its own. Pods are network namespaces with addresses of their own,
// another one each time that a pod comes, and find each other through a DNS server for the
// headless Service; see the packages kube, sandbox and nameserver. Where there can be no
// namespaces they are on 127.0.0.0/8, are told each other's addresses, and acts that need more
// are left out.
//
// Two gateways ask: one with the Go client, through the Service's addresses in DNS, and one
// with only gRPC, through whatever pod is ready, as by a ClusterIP. Keys have nearly all or all of
// their limit used, and leases are held throughout.
//
// It exits with 0 if all bounds held, with 1 if one was broken or something could not be
// measured. Then it names folders with the nodes' logs.
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
	"runtime"
	"syscall"
	"time"

	"github.com/overten/sluice/bench/internal/kube"
	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/sandbox"
)

// How this program is told to be one of those that it starts.
const (
	insideCommand = "inside" // the namespaces, where it does its work
	probeCommand  = "probe"  // whether there can be any
	stallCommand  = "stalls" // to see whether the machine stood still
)

// outgrace is how long the work may take to end when it is interrupted.
const outgrace = 20 * time.Second

func main() {
	args := os.Args[1:]
	inside := false
	if len(args) > 0 {
		switch args[0] {
		case probeCommand:
			exitOn(sandbox.Probe())
			return
		case stallCommand:
			process.WatchStalls()
			return
		case insideCommand:
			inside, args = true, args[1:]
		}
	}
	o, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	exitOn(err)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if inside {
		exitOn(rehearseInside(ctx, o))
		return
	}
	exitOn(prepare(ctx, o, args))
}

func exitOn(err error) {
	var child *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &child) && child.Exited(): // it has said why
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "rehearse:", err)
		os.Exit(1)
	}
}

// prepare builds what is to run, as long as there is a network to fetch modules from, and goes on
// where pods can have one of their own, if that is possible.
func prepare(ctx context.Context, o options, args []string) (err error) {
	if err := sweep(os.TempDir()); err != nil {
		return err
	}
	if o.logs == "" {
		if o.logs, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", folder, os.Getpid())); err != nil {
			return err
		}
	}
	if o.logs, err = filepath.Abs(o.logs); err != nil {
		return err
	}
	tools := filepath.Join(o.logs, binaries)
	defer func() {
		err = errors.Join(err, os.RemoveAll(tools))
		_ = os.Remove(o.logs) // if it has nothing to tell
	}()
	if err := os.MkdirAll(tools, 0o700); err != nil {
		return err
	}
	if err := buildAll(ctx, &o, tools); err != nil {
		return err
	}
	if why := sandbox.Works(probeCommand); why != nil {
		fmt.Fprintf(o.progress(), "pods share one network, as they can have none of their own here: %v\n", why)
		return rehearse(ctx, o, new(sandbox.Loopback))
	}
	again := append([]string{insideCommand}, args...)
	return sandbox.Run(ctx, outgrace, append(again, "-binary", o.binary, "-previous", o.previous, "-from", o.from, "-logs", o.logs, "-seed", fmt.Sprint(o.seed))...)
}

// rehearseInside is rehearse in the namespaces.
func rehearseInside(ctx context.Context, o options) error {
	network, err := sandbox.Enter(kube.Search)
	if err != nil {
		return err
	}
	return rehearse(ctx, o, network)
}

var errBroken = errors.New("bounds were broken")

// rehearse plays and reports.
func rehearse(ctx context.Context, o options, network sandbox.Network) error {
	fmt.Fprintf(o.progress(), "%s, %d processors, %d keys, %d calls a second, seed %d, logs in %s\n\n", runtime.Version(), runtime.NumCPU(), o.keys, o.rate, o.seed, o.logs)
	results, skipped, err := playAll(ctx, o, network)
	holds := err == nil
	for _, r := range results {
		holds = holds && len(r.Broken) == 0
	}
	if o.json {
		err = errors.Join(err, writeJSON(os.Stdout, document{Holds: holds, Seed: o.seed, From: o.from, Skipped: skipped, Acts: results}))
	} else {
		writeTable(os.Stdout, results, skipped)
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

// playAll plays all acts that are wanted and possible, and says which are not.
func playAll(ctx context.Context, o options, network sandbox.Network) (results []result, skipped []string, err error) {
	for _, a := range acts {
		if !o.acts.MatchString(a.name) || o.short && !a.short {
			continue
		}
		if why := impossible(a, o, network); why != "" {
			skipped = append(skipped, a.name+": "+why)
			continue
		}
		r, err := play(ctx, o, a, network)
		if ctx.Err() != nil {
			return results, skipped, fmt.Errorf("%s: interrupted", a.name)
		}
		if err != nil {
			return results, skipped, fmt.Errorf("%s: %w", a.name, err)
		}
		results = append(results, r)
	}
	if len(results)+len(skipped) == 0 {
		return nil, nil, errors.New("-acts: no act has such a name")
	}
	return results, skipped, nil
}

// impossible is why an act cannot be played here.
func impossible(a act, o options, network sandbox.Network) string {
	switch {
	case a.private && !network.Private():
		return "pods have no network of their own"
	case a.previous && o.previous == "":
		return "there is no earlier build"
	}
	return ""
}

// progress is where it is told what happens: not to where the result goes if that is for a
// program to read.
func (o options) progress() io.Writer {
	if o.json {
		return os.Stderr
	}
	return os.Stdout
}
