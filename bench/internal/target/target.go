// Package target runs what is measured: nodes of Sluice, the empty echo that is the floor of a
// call, and limiters of others. Each is a process of its own, or several, on loopback, started
// with the settings that its makers recommend; all end with the target, or with this program.
package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/process"
)

// Config says what to run.
type Config struct {
	Kind    string // one that is Known
	Nodes   int    // 1, unless the kind forms clusters
	Spare   bool   // one more may Join
	Keys    int    // that it will be asked for, about
	Dir     string // for logs and what the processes read; must exist
	Tools   Tools
	Profile string // directory for profiles of the processes that are of this program; "": none
}

// Tools are the programs of those that are not this one.
type Tools struct {
	Sluice, Before, Gubernator, Ratelimit, Redis string // paths; Before is another build of Sluice
}

// A Target runs.
type Target struct {
	Addrs    []string // where it is asked: any will do
	PIDs     []int    // of all its processes
	Settings string   // how it was started, for people
	Logs     []string // of its processes

	traced  bool // its logs tell of collections of garbage
	closers []func() error

	fleet  *fleet.Fleet // of nodes; nil: it is no Sluice
	mu     sync.Mutex   // guards joined
	joined []int        // the process of the spare node, if that runs
}

// The kinds that are Sluice: as it is here, and another build of it.
const (
	Sluice = "sluice"
	Before = "sluice-before"
)

// kinds are what can be run, by the name that scenarios give it.
var kinds = map[string]func(context.Context, Config) (*Target, error){
	Sluice:       startSluice,
	Before:       startSluice,
	"echo":       startEcho,
	"echo-plain": startEcho,
	"echo-bare":  startEcho,
	"gubernator": startGubernator,
	"ratelimit":  startRatelimit,
	"redis":      startRedis,
}

// Known reports whether there is such a kind.
func Known(kind string) bool { return kinds[kind] != nil }

// Start starts a target, and returns when it answers.
func Start(ctx context.Context, c Config) (*Target, error) {
	start := kinds[c.Kind]
	if start == nil {
		return nil, fmt.Errorf("there is no %q to measure", c.Kind)
	}
	t, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Kind, err)
	}
	return t, nil
}

// Close ends all processes, and waits until they have.
func (t *Target) Close() error {
	var errs []error
	for i := len(t.closers) - 1; i >= 0; i-- {
		errs = append(errs, t.closers[i]())
	}
	t.closers = nil
	return errors.Join(errs...)
}

// CPU is the processor time that all its processes have had.
func (t *Target) CPU() (sum time.Duration, err error) {
	for _, pid := range t.pids() {
		cpu, err := process.CPU(pid)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// pids are the processes that run.
func (t *Target) pids() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(t.joined[:len(t.joined):len(t.joined)], t.PIDs...)
}

// Resident is how many bytes of all its processes are in memory.
func (t *Target) Resident() (sum int64, err error) {
	for _, pid := range t.pids() {
		m, err := process.ReadMemory(pid)
		if err != nil {
			return 0, err
		}
		sum += m.Resident
	}
	return sum, nil
}

// readyWithin is how long a process may take to answer.
const readyWithin = 30 * time.Second

// run starts a program, whose output goes to a log, and waits until an address can be connected
// to.
func (t *Target) run(ctx context.Context, c Config, name, address string, env []string, binary string, args ...string) error {
	if binary == "" {
		return fmt.Errorf("there is no program %s here", name)
	}
	file := filepath.Join(c.Dir, name+".log")
	log, err := os.Create(file)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = process.Orphaned()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.PIDs, t.Logs = append(t.PIDs, cmd.Process.Pid), append(t.Logs, file)
	t.closers = append(t.closers, func() error { return end(cmd.Process, ended) })
	late := time.After(readyWithin)
	for {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("%s ended as it started: %w; see %s", name, err, file)
		case <-late:
			return fmt.Errorf("%s does not answer at %s after %v; see %s", name, address, readyWithin, file)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end asks a process to end, and after a while makes it.
func end(p *os.Process, ended chan error) error {
	_ = p.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = p.Kill()
		<-ended
	}
	return nil
}
