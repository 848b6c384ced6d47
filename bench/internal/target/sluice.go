package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
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
	f, err := fleet.New(fleet.Config{
		Binary: c.Tools.Sluice, Dir: c.Dir, Nodes: c.Nodes, Policy: policyFile, MaxKeys: 2*c.Keys + 1000, Ready: readyWithin,
		Env: []string{"GODEBUG=gctrace=1"},
	})
	if err != nil {
		return nil, err
	}
	t := &Target{traced: true, Settings: fmt.Sprintf("sluice serve, %d nodes, --max-keys %d", c.Nodes, 2*c.Keys+1000), closers: []func() error{f.Close}}
	for _, n := range f.Nodes {
		if err := n.Start(ctx); err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.Addrs, t.PIDs, t.Logs = append(t.Addrs, n.Address()), append(t.PIDs, n.PID()), append(t.Logs, n.LogFile())
	}
	settle, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := f.Settle(settle); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
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
