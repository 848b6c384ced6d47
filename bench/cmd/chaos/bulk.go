package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/fleet"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// bulkBatch is how many keys are asked for in one call.
const bulkBatch = 500

// fill takes so many units of each key, cost[key], in as few calls as possible.
func (d *desk) fill(ctx context.Context, c *circle, cost []uint32) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all := make([]int, len(cost))
	for k := range all {
		all[k] = k
	}
	outcomes, err := d.each(ctx, c, all, cost)
	if err != nil {
		return err
	}
	for k, o := range outcomes {
		if o != audit.Allowed {
			return fmt.Errorf("%s: %d units were not allowed to a new key", d.keys.names[k], cost[k])
		}
	}
	return nil
}

// drain asks for one unit of each key until the key has been denied.
func (d *desk) drain(ctx context.Context, c *circle) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	left := make([]int, len(d.keys.names))
	ones := make([]uint32, len(left))
	for k := range left {
		left[k], ones[k] = k, 1
	}
	for len(left) > 0 {
		outcomes, err := d.each(ctx, c, left, ones)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(k int) bool { return outcomes[k] == audit.Denied })
	}
	return nil
}

// each asks for units of the keys, by the key's number, until each is answered.
func (d *desk) each(ctx context.Context, c *circle, ask []int, units []uint32) (map[int]audit.Outcome, error) {
	outcomes := make(map[int]audit.Outcome, len(ask))
	open := slices.Clone(ask)
	for turn := 0; len(open) > 0; turn++ {
		var err error
		for part := range slices.Chunk(open, bulkBatch) {
			if e := d.batch(ctx, c, turn, part, units, outcomes); e != nil {
				err = e
			}
		}
		open = slices.DeleteFunc(open, func(k int) bool { return outcomes[k] != audit.Failed })
		if len(open) > 0 && wait(ctx, roundPause) != nil {
			return nil, fmt.Errorf("%d keys were not answered, %s among them: %w", len(open), d.keys.names[open[0]], err)
		}
	}
	return outcomes, nil
}

// batch asks once for each of some keys, and leaves in outcomes what came of it. The error
// is why some were not decided.
func (d *desk) batch(ctx context.Context, c *circle, turn int, part []int, units []uint32, outcomes map[int]audit.Outcome) (some error) {
	req := &sluicev1.CheckBatchRequest{}
	for _, k := range part {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: d.keys.names[k], Cost: &units[k]})
		outcomes[k] = audit.Failed
	}
	began := d.log.Now()
	defer func() {
		for _, k := range part {
			if o := outcomes[k]; o != audit.Failed { // else it is asked for again: it is one call
				d.log.Call(audit.Call{Key: k, Group: bulk, Units: units[k], Began: began, Ended: d.log.Now(), Outcome: o})
			}
		}
	}()
	err := c.ask(ctx, turn, func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error {
		tries := make([]int, len(part))
		for i, k := range part {
			tries[i] = d.log.Send(k, address, units[k])
		}
		resp, err := node.CheckBatch(ctx, req)
		if err == nil && len(resp.GetResults()) != len(part) {
			return fmt.Errorf("%s answered %d of %d checks", address, len(resp.GetResults()), len(part))
		}
		for i, r := range resp.GetResults() {
			o, degraded := told(r.GetDecision())
			d.log.Answer(tries[i], o, degraded)
			outcomes[part[i]] = o
			if st := r.GetError(); st.GetCode() != 0 {
				some = fmt.Errorf("%s: %w", address, status.ErrorProto(st))
			}
		}
		return err
	})
	return errors.Join(err, some)
}

// bulk is the group of calls that no gateway made.
const bulk = groups

// A sight is what the operators' service says of a key.
type sight struct {
	count      audit.Count
	partition  uint32
	holder     string
	generation string
	copies     []string
}

func (s sight) String() string {
	return fmt.Sprintf("%s (%s of partition %d)", s.holder, s.generation, s.partition)
}

// inspectors is how many keys are asked for at a time.
const inspectors = 8

// inspect asks how every key stands.
func (d *desk) inspect(ctx context.Context, f *fleet.Fleet) ([]sight, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	nodes := f.Answering()
	out := make([]sight, len(d.keys.names))
	errs := make([]error, inspectors)
	var all sync.WaitGroup
	for i := range inspectors {
		all.Go(func() {
			admin := nodes[i%len(nodes)].Admin()
			for k := i; k < len(out) && errs[i] == nil; k += inspectors {
				out[k], errs[i] = d.inspectOne(ctx, admin, k)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// inspectOne asks how a key stands, until it is told.
func (d *desk) inspectOne(ctx context.Context, admin adminv1.AdminServiceClient, k int) (sight, error) {
	for {
		asked := d.log.Now()
		r, err := admin.Inspect(ctx, &adminv1.InspectRequest{Key: d.keys.names[k]})
		if err == nil && len(r.GetWindows()) == 1 && r.GetPlacement().GetHolder() != "" {
			return sight{
				count:     audit.Count{Asked: asked, Answered: d.log.Now(), Used: r.GetWindows()[0].GetUsed()},
				partition: r.GetPlacement().GetPartition(), holder: r.GetPlacement().GetHolder(), generation: r.GetPlacement().GetGeneration(), copies: r.GetPlacement().GetCopies(),
			}, nil
		}
		if err == nil {
			err = fmt.Errorf("windows %v, placement %v", r.GetWindows(), r.GetPlacement())
		}
		if wait(ctx, roundPause) != nil {
			return sight{}, fmt.Errorf("%s could not be inspected: %w", d.keys.names[k], err)
		}
	}
}
