// Command hostile tells what a node's port for gateways is worth to a well-behaved gateway
// while strangers do their worst to it: connections that are idle, clients that never read,
// oversized headers, and garbage. It prints how many of the gateway's checks failed, which
// must be none, how long they took beside how long they took before, and the node's memory.
//
//	go run ./cmd/hostile
//	go run ./cmd/hostile -for 10s -idle 2000
//
// It exits with 0 if no check failed, and with 1 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/stat"
	"github.com/overten/sluice/client"
	"github.com/overten/sluice/server"
)

// options are what a trial can be told.
type options struct {
	lasts   time.Duration // of the quiet and the hostile phase
	after   time.Duration // of the one that shows whether memory returns
	idle    int           // connections
	slow    int           // clients that never read
	garbage int           // connections a second
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "node" { // this is the node that is tried
		exitOn(node())
		return
	}
	if len(os.Args) == 6 && os.Args[1] == "enemies" { // these are the strangers
		exitOn(beEnemies(os.Args[2:]))
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
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.DurationVar(&o.lasts, "for", time.Minute, "how long the node is watched in quiet, and then while strangers come")
	flags.DurationVar(&o.after, "after", 4*time.Minute, "how long it is watched when they are gone: Go gives memory back within minutes")
	flags.IntVar(&o.idle, "idle", 10_000, "connections that say hello and then nothing")
	flags.IntVar(&o.slow, "slow", 50, "clients that ask and never read")
	flags.IntVar(&o.garbage, "garbage", 1000, "connections with garbage a second")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.lasts < time.Second || o.after < time.Second || o.idle < 0 || o.slow < 0 || o.garbage < 1 {
		return o, errors.New("-for and -after must be at least 1s, -garbage at least 1, -idle and -slow not negative")
	}
	return o, nil
}

// node serves until its parent has had enough.
func node() error {
	n, err := server.Start(server.Config{GRPC: "127.0.0.1:0", MaxKeys: 1_000_000, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	process.Hold(n.Addr())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.Shutdown(ctx)
}

// beEnemies is the process of the strangers: the node's address, and how many of each kind.
func beEnemies(args []string) error {
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(args[i+1]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e, err := assail(ctx, args[0], options{idle: n[0], slow: n[1], garbage: n[2]})
	if err != nil {
		return err
	}
	process.Hold("ready")
	cancel()
	fmt.Println(e.end())
	return nil
}

// measured is what a gateway saw in one phase.
type measured struct {
	checks, failed int
	p50, p99, most time.Duration
	first          error
}

func (m measured) String() string {
	s := fmt.Sprintf("%d checks, %d failed, p50 %v, p99 %v, longest %v", m.checks, m.failed, m.p50, m.p99, m.most)
	if m.first != nil {
		s += fmt.Sprintf(" (the first failed with: %v)", m.first)
	}
	return s
}

// run tries a node of its own.
func run(ctx context.Context, o options) error {
	if err := raiseFiles(uint64(o.idle + o.slow + 4*o.garbage + 1000)); err != nil {
		return err
	}
	child, err := process.Start(ctx, "node")
	if err != nil {
		return err
	}
	defer func() { _ = child.Stop() }()
	gateway, err := client.New(child.Ready, client.WithTimeout(time.Second), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer gateway.Close()
	if _, err := phase(ctx, "warm", child, time.Second, gateway); err != nil {
		return err
	}
	quiet, err := phase(ctx, "quiet", child, o.lasts, gateway)
	if err != nil {
		return err
	}
	enemies, err := process.Start(ctx, "enemies", child.Ready, strconv.Itoa(o.idle), strconv.Itoa(o.slow), strconv.Itoa(o.garbage))
	if err != nil {
		return err
	}
	loud, err := phase(ctx, "hostile", child, o.lasts, gateway)
	did, e := enemies.Result()
	if err = errors.Join(err, e); err != nil {
		return err
	}
	fmt.Println(did)
	if _, err := phase(ctx, "after", child, o.after, gateway); err != nil {
		return err
	}
	fmt.Printf("p99 %v quiet, %v hostile\n", quiet.p99, loud.p99)
	if quiet.failed+loud.failed > 0 {
		return errors.New("checks failed")
	}
	return nil
}

// phase has a gateway check for a while, and prints what it saw.
func phase(ctx context.Context, name string, child *process.Child, lasts time.Duration, gateway *client.Client) (measured, error) {
	m := watch(ctx, lasts, gateway)
	memory, err := process.ReadMemory(child.PID())
	if err != nil {
		return m, err
	}
	if name != "warm" {
		fmt.Printf("%-8s %v; the node has %d MiB, had at most %d MiB\n", name, m, memory.Resident>>20, memory.Peak>>20)
	}
	return m, ctx.Err()
}

// The gateway asks from so many goroutines, each so often: it measures, and is no load.
const (
	askers   = 4
	askEvery = 2 * time.Millisecond
)

// watch has a gateway check for a while.
func watch(ctx context.Context, lasts time.Duration, gateway *client.Client) (m measured) {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var asking sync.WaitGroup
	for i := range askers {
		asking.Go(func() {
			tick := time.NewTicker(askEvery)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				began := time.Now()
				_, err := gateway.Check(context.WithoutCancel(ctx), client.CheckRequest{Key: fmt.Sprint("key-", i, "-", n%1000)})
				d := time.Since(began)
				mu.Lock()
				took = append(took, d)
				if err != nil {
					m.failed++
					if m.first == nil {
						m.first = err
					}
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	slices.Sort(took)
	m.checks, m.p50, m.p99, m.most = len(took), stat.Quantile(took, 0.5), stat.Quantile(took, 0.99), stat.Quantile(took, 1)
	return m
}
