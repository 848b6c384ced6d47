package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/overten/sluice/bench/internal/load"
	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/scenario"
	"github.com/overten/sluice/bench/internal/target"
)

// bench measures scenarios.
type bench struct {
	options  options
	tools    target.Tools
	dir      string // for what targets write
	progress io.Writer
}

// A sample is what one contender did in one turn.
type sample struct {
	Decisions int                `json:"decisions"`
	Failed    int                `json:"failed_calls"`
	Denied    int                `json:"denied"`
	Error     string             `json:"error,omitempty"` // of one call that failed
	Seconds   float64            `json:"seconds"`
	Measures  map[string]float64 `json:"measures"`
}

// A contestant is a contender that runs.
type contestant struct {
	scenario.Contender
	target *target.Target
	asking *asking
	open   float64 // calls a second; 0: a closed loop
}

// measure measures one scenario. A contender whose program is not here is left out.
//
// Half of the turns are of processes that were started in one order, half of others, started in the
// opposite one: on a virtual machine two that do the same can differ by a quarter, by which of
// them came to its memory first.
func (b *bench) measure(ctx context.Context, s scenario.Scenario) (out outcome, err error) {
	out = outcome{Scenario: s.Name, About: s.About, contenders: s.Contenders, samples: make([][]sample, len(s.Contenders))}
	fmt.Fprintf(b.progress, "\n%s: %s\n", s.Name, s.About)
	order := make([]int, 0, len(s.Contenders))
	for i, c := range s.Contenders {
		if missing := b.missing(c.Target); missing != "" {
			out.Missing = append(out.Missing, fmt.Sprintf("%s: there is no program %s here", c.Name, missing))
			continue
		}
		order = append(order, i)
	}
	half := (s.Pairs + 1) / 2
	if err := b.turns(ctx, s, &out, order, 0, half); err != nil {
		return out, err
	}
	slices.Reverse(order)
	if err := b.turns(ctx, s, &out, order, half, s.Pairs); err != nil {
		return out, err
	}
	out.compare(s.Compare)
	out.writeText(b.progress)
	return out, nil
}

// turns starts contenders in an order, and gives them turns: those from one number on, up to
// another.
func (b *bench) turns(ctx context.Context, s scenario.Scenario, out *outcome, order []int, from, to int) (err error) {
	if from >= to {
		return nil
	}
	running := make([]*contestant, len(s.Contenders))
	defer func() {
		for _, c := range running {
			err = errors.Join(err, c.close())
		}
	}()
	for _, i := range order {
		c := s.Contenders[i]
		if running[i], err = b.start(ctx, s, c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if from == 0 {
			out.Settings = append(out.Settings, c.Name+": "+running[i].target.Settings)
		}
	}
	if err := b.warmUp(ctx, s, running, order); err != nil {
		return err
	}
	order = slices.Clone(order)
	for turn := from; turn < to; turn++ {
		for _, i := range order {
			sample, err := b.turn(ctx, s, running[i], turn)
			if err != nil {
				return fmt.Errorf("%s: %w", running[i].Name, err)
			}
			out.samples[i] = append(out.samples[i], sample)
			b.say(turn, s.Pairs, running[i].Name, sample)
		}
		slices.Reverse(order) // so that none always comes after the same other
	}
	return nil
}

// missing names the program that a kind of target needs and that is not here.
func (b *bench) missing(kind string) string {
	for _, need := range map[string][][2]string{
		"gubernator": {{"gubernator", b.tools.Gubernator}},
		"ratelimit":  {{"ratelimit", b.tools.Ratelimit}, {"redis-server", b.tools.Redis}},
		"redis":      {{"redis-server", b.tools.Redis}},
	}[kind] {
		if need[1] == "" {
			return need[0]
		}
	}
	return ""
}

// start starts a contender's target, and makes the askers of its load.
func (b *bench) start(ctx context.Context, s scenario.Scenario, c scenario.Contender) (*contestant, error) {
	dir := filepath.Join(b.dir, s.Name, c.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t, err := target.Start(ctx, target.Config{
		Kind: c.Target, Nodes: c.Nodes, Spare: c.Joins, Keys: c.Load.Keys, Dir: dir, Tools: b.tools, Profile: b.options.profiles,
	})
	if err != nil {
		return nil, err
	}
	a, err := newAsking(c, t)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return &contestant{Contender: c, target: t, asking: a}, nil
}

func (c *contestant) close() error {
	if c == nil {
		return nil
	}
	return errors.Join(c.asking.close(), c.target.Close())
}

// warmUp fills the targets with their keys, loads each for a while, and finds the rate of open
// loops: a share of what the slowest can do.
func (b *bench) warmUp(ctx context.Context, s scenario.Scenario, running []*contestant, order []int) error {
	slowest := 0.0
	for _, i := range order {
		c := running[i]
		if err := c.asking.fill(ctx); err != nil {
			return fmt.Errorf("%s: filling: %w", c.Name, err)
		}
		warm, err := c.sample(ctx, s.WarmUp)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if warm.Decisions == 0 {
			return fmt.Errorf("%s decided nothing: %s", c.Name, warm.Error)
		}
		b.say(-1, s.Pairs, c.Name, warm)
		if rate := warm.Measures["rate"] / float64(c.Load.Batch); slowest == 0 || rate < slowest {
			slowest = rate
		}
	}
	for _, c := range running {
		if c != nil {
			c.open = c.Load.Open * slowest
		}
	}
	return nil
}

// turn is a turn of a contender, with what goes on beside its load: of the last one a profile, if
// that is wanted.
func (b *bench) turn(ctx context.Context, s scenario.Scenario, c *contestant, turn int) (sample, error) {
	beside := make(chan error, 1)
	go func() {
		var err error
		switch {
		case c.Joins:
			select {
			case <-time.After(s.For / 2):
				err = c.target.Join(ctx)
			case <-ctx.Done():
			}
		case b.options.profiles != "" && turn == s.Pairs-1:
			err = c.target.Profile(ctx, b.options.profiles, s.Name+"-"+c.Name, s.For)
		}
		beside <- err
	}()
	out, err := c.sample(ctx, s.For)
	err = errors.Join(err, <-beside)
	if c.Joins && err == nil {
		err = c.target.Leave(ctx)
	}
	return out, err
}

// sample loads a contender for so long, and reads what that took.
func (c *contestant) sample(ctx context.Context, period time.Duration) (sample, error) {
	collected, err := c.target.CollectorCPU()
	if err != nil {
		return sample{}, err
	}
	before, err := c.target.CPU()
	if err != nil {
		return sample{}, err
	}
	ownBefore, err := process.CPU(os.Getpid())
	if err != nil {
		return sample{}, err
	}
	decided, told, err := c.target.Decisions(ctx)
	if err != nil {
		return sample{}, err
	}
	c.asking.begin()
	var r load.Result
	if c.open > 0 {
		r = load.Stream{Rate: c.open, For: period, Deadline: c.Load.OfContext(), Workers: max(512, c.Load.Workers), Worker: c.asking.worker}.Run(ctx)
	} else {
		r = load.Loop{Workers: c.Load.Workers, For: period, Deadline: c.Load.OfContext(), Worker: c.asking.worker}.Run(ctx)
	}
	ownAfter, err1 := process.CPU(os.Getpid())
	after, err2 := c.target.CPU()
	collectedAfter, err3 := c.target.CollectorCPU()
	resident, err4 := c.target.Resident()
	decidedAfter, _, err5 := c.target.Decisions(ctx)
	if err := errors.Join(ctx.Err(), err1, err2, err3, err4, err5); err != nil {
		return sample{}, err
	}
	decisions := r.Calls * c.Load.Batch
	out := sample{Decisions: decisions, Failed: r.Failed, Denied: c.asking.denied(), Seconds: r.Elapsed.Seconds()}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	if decisions == 0 {
		return out, nil
	}
	each := float64(decisions + r.Failed*c.Load.Batch)
	cpu := after - before
	out.Measures = map[string]float64{
		"cpu":      micros(cpu) / each,
		"client":   micros(ownAfter-ownBefore) / each,
		"rate":     float64(decisions) / r.Elapsed.Seconds(),
		"p50":      millis(r.Quantile(0.5)),
		"p99":      millis(r.Quantile(0.99)),
		"p999":     millis(r.Quantile(0.999)),
		"gc":       (collectedAfter - collected).Seconds() / cpu.Seconds(),
		"resident": float64(resident) / float64(c.Load.Keys),
		"failed":   float64(r.Failed) / float64(r.Calls+r.Failed),
		"longest":  millis(r.Quantile(1)),
	}
	if abusive := c.Load.Abusive; told && abusive.Keys > 0 {
		denied := float64(decidedAfter-decided) - float64(decisions-out.Denied)
		out.Measures["reached"] = denied / float64(abusive.Keys) / r.Elapsed.Seconds()
	}
	return out, nil
}

func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }
func millis(d time.Duration) float64 { return d.Seconds() * 1e3 }

// say tells what a contender did in a turn.
func (b *bench) say(turn, turns int, name string, s sample) {
	at := fmt.Sprintf("%d/%d", turn+1, turns)
	if turn < 0 {
		at = "warm up"
	}
	m := s.Measures
	fmt.Fprintf(b.progress, "  %-8s %-22s %9.0f/s  server %7.3f µs  client %7.3f µs  p50 %7.2f ms  p99 %7.2f ms  gc %4.1f %%", at, name, m["rate"], m["cpu"], m["client"], m["p50"], m["p99"], 100*m["gc"])
	if s.Denied > 0 || s.Failed > 0 {
		fmt.Fprintf(b.progress, "  %d denied, %d failed %s", s.Denied, s.Failed, s.Error)
	}
	fmt.Fprintln(b.progress)
}
