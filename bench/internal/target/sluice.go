package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/overten/sluice/bench/internal/ask"
	"github.com/overten/sluice/bench/internal/fleet"
)

// policyFile has the tiers of all scenarios: those that are built in, and one that never denies.
var policyFile = fmt.Sprintf(`tiers:
  free:       {windows: [{limit: 10, per: 1m}], concurrent: 2}
  enterprise: {windows: [{limit: %d, per: 1m}], concurrent: 50}
  unlimited:  {windows: [{limit: 1000000000, per: 1m}], concurrent: 50}
default_tier: free
`, ask.Limit)

// settleWithin is how long a cluster may take to agree.
const settleWithin = 30 * time.Second

// startSluice starts nodes as `sluice serve` does, with metrics, validation and all else that
// they have in production.
func startSluice(ctx context.Context, c Config) (*Target, error) {
	nodes := c.Nodes
	if c.Spare {
		nodes++
	}
	binary := c.Tools.Sluice
	if c.Kind == Before {
		binary = c.Tools.Before
	}
	f, err := fleet.New(fleet.Config{
		Binary: binary, Dir: c.Dir, Nodes: nodes, Policy: policyFile, MaxKeys: 2*c.Keys + 1000, Ready: readyWithin,
		Env: []string{"GODEBUG=gctrace=1"},
	})
	if err != nil {
		return nil, err
	}
	t := &Target{
		traced: true, fleet: f, closers: []func() error{f.Close},
		Settings: fmt.Sprintf("sluice serve, %d nodes, --max-keys %d", c.Nodes, 2*c.Keys+1000),
	}
	for _, n := range f.Nodes[:c.Nodes] {
		if err := n.Start(ctx); err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.Addrs, t.PIDs, t.Logs = append(t.Addrs, n.Address()), append(t.PIDs, n.PID()), append(t.Logs, n.LogFile())
	}
	if err := t.settle(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Target) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	return t.fleet.Settle(ctx)
}

// Join lets the spare node join the others. It returns when that has what is its share, or ctx
// ends.
func (t *Target) Join(ctx context.Context) error {
	n := t.spare()
	if err := n.Start(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	t.joined = append(t.joined, n.PID())
	t.mu.Unlock()
	return t.settle(ctx)
}

// Leave lets the spare node leave.
func (t *Target) Leave(ctx context.Context) error {
	if err := t.spare().Stop(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	t.joined = nil
	t.mu.Unlock()
	return t.settle(ctx)
}

func (t *Target) spare() *fleet.Node { return t.fleet.Nodes[len(t.fleet.Nodes)-1] }

// Decisions is how many checks the nodes have decided for their callers since they started. It
// returns false for other limiters, which do not tell.
func (t *Target) Decisions(ctx context.Context) (sum uint64, ok bool, err error) {
	if t.fleet == nil {
		return 0, false, nil
	}
	for _, n := range t.fleet.Answering() {
		page, err := get(ctx, "http://"+n.AdminAddress()+"/metrics")
		if err != nil {
			return 0, false, fmt.Errorf("%s: %w", n.Name, err)
		}
		for line := range strings.Lines(page) {
			if !strings.HasPrefix(line, "sluice_decisions_total{") {
				continue
			}
			value := line[strings.LastIndexByte(line, ' ')+1:]
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, false, err
			}
			sum += uint64(n)
		}
	}
	return sum, true, nil
}

// Profile writes where the nodes spend their processors' time in the time to come into files in
// a directory.
func (t *Target) Profile(ctx context.Context, dir, name string, period time.Duration) error {
	if t.fleet == nil {
		return nil
	}
	errs := make(chan error)
	nodes := t.fleet.Answering()
	for _, n := range nodes {
		go func() {
			profile, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", n.AdminAddress(), math.Ceil(period.Seconds())))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+"-"+n.Name+".cpu.prof"), []byte(profile), 0o600)
			}
			errs <- err
		}()
	}
	var all []error
	for range nodes {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// get returns a page.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), err
}

// CollectorCPU is the processor time that collecting garbage has taken, as far as the runtimes say:
// 0 for targets that do not.
func (t *Target) CollectorCPU() (sum time.Duration, err error) {
	if !t.traced {
		return 0, nil
	}
	for _, file := range t.Logs {
		f, err := os.Open(file)
		if err != nil {
			return 0, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			sum += collection(lines.Text())
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// collection is the processor time of the collection that a line of GODEBUG=gctrace=1 tells of, 0
// if it tells of none. What was done by processors that had nothing else to do is not in it.
//
//	gc 7 @0.5s 1%: 0.01+1.3+0.07 ms clock, 0.02+0.3/2.5/6.2+0.1 ms cpu, 4->4->0 MB, …
func collection(line string) time.Duration {
	if !strings.HasPrefix(line, "gc ") {
		return 0
	}
	_, rest, ok := strings.Cut(line, " ms clock, ")
	if !ok {
		return 0
	}
	times, _, ok := strings.Cut(rest, " ms cpu,")
	if !ok {
		return 0
	}
	parts := strings.FieldsFunc(times, func(r rune) bool { return r == '+' || r == '/' })
	if len(parts) != 5 {
		return 0
	}
	const idle = 3
	sum := 0.0
	for i, p := range parts {
		ms, err := strconv.ParseFloat(p, 64)
		if err != nil {
			return 0
		}
		if i != idle {
			sum += ms
		}
	}
	return time.Duration(sum * float64(time.Millisecond))
}
