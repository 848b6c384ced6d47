package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// bulkBatch is how many keys are asked for in one call.
const bulkBatch = 500

// Fill takes so many units of each key, cost[key], in as few calls as possible.
func (d *Desk) Fill(ctx context.Context, c *Circle, cost []uint32) error {
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
			return fmt.Errorf("%s: %d units were not allowed to a new key", d.Keys.Names[k], cost[k])
		}
	}
	return nil
}

// Drain asks for one unit of each key until the key has been denied.
func (d *Desk) Drain(ctx context.Context, c *Circle) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	left := make([]int, len(d.Keys.Names))
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
func (d *Desk) each(ctx context.Context, c *Circle, ask []int, units []uint32) (map[int]audit.Outcome, error) {
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
		if len(open) > 0 && Wait(ctx, roundPause) != nil {
			return nil, fmt.Errorf("%d keys were not answered, %s among them: %w", len(open), d.Keys.Names[open[0]], err)
		}
	}
	return outcomes, nil
}

// batch asks once for each of some keys, and leaves in outcomes what came of it. The error
// is why some were not decided.
func (d *Desk) batch(ctx context.Context, c *Circle, turn int, part []int, units []uint32, outcomes map[int]audit.Outcome) (some error) {
	req := &sluicev1.CheckBatchRequest{}
	for _, k := range part {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: d.Keys.Names[k], Cost: &units[k]})
		outcomes[k] = audit.Failed
	}
	began := d.Log.Now()
	defer func() {
		for _, k := range part {
			if o := outcomes[k]; o != audit.Failed { // else it is asked for again: it is one call
				d.Log.Call(audit.Call{Key: k, Group: Bulk, Units: units[k], Began: began, Ended: d.Log.Now(), Outcome: o})
			}
		}
	}()
	err := c.Ask(ctx, turn, func(ctx context.Context, address string, node sluicev1.RateLimiterServiceClient) error {
		tries := make([]int, len(part))
		for i, k := range part {
			tries[i] = d.Log.Send(k, address, units[k])
		}
		resp, err := node.CheckBatch(ctx, req)
		if err == nil && len(resp.GetResults()) != len(part) {
			return fmt.Errorf("%s answered %d of %d checks", address, len(resp.GetResults()), len(part))
		}
		for i, r := range resp.GetResults() {
			o, degraded := told(r.GetDecision())
			d.Log.Answer(tries[i], o, degraded)
			outcomes[part[i]] = o
			if st := r.GetError(); st.GetCode() != 0 {
				some = fmt.Errorf("%s: %w", address, status.ErrorProto(st))
			}
		}
		return err
	})
	return errors.Join(err, some)
}

// Bulk is the group of calls that no gateway made.
const Bulk = -1

// A Sight is what the operators' service says of a key.
type Sight struct {
	Count      audit.Count
	Partition  uint32
	Holder     string
	Generation string
	Copies     []string
}

func (s Sight) String() string {
	return fmt.Sprintf("%s (%s of partition %d)", s.Holder, s.Generation, s.Partition)
}

// inspectors is how many keys are asked for at a time.
const inspectors = 8

// Inspect asks how every key stands.
func (d *Desk) Inspect(ctx context.Context, nodes []adminv1.AdminServiceClient) ([]Sight, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out := make([]Sight, len(d.Keys.Names))
	errs := make([]error, inspectors)
	var all sync.WaitGroup
	for i := range inspectors {
		all.Go(func() {
			admin := nodes[i%len(nodes)]
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
func (d *Desk) inspectOne(ctx context.Context, admin adminv1.AdminServiceClient, k int) (Sight, error) {
	for {
		asked := d.Log.Now()
		r, err := admin.Inspect(ctx, &adminv1.InspectRequest{Key: d.Keys.Names[k]})
		if err == nil && len(r.GetWindows()) == 1 && r.GetPlacement().GetHolder() != "" {
			return Sight{
				Count:     audit.Count{Asked: asked, Answered: d.Log.Now(), Used: r.GetWindows()[0].GetUsed()},
				Partition: r.GetPlacement().GetPartition(), Holder: r.GetPlacement().GetHolder(), Generation: r.GetPlacement().GetGeneration(), Copies: r.GetPlacement().GetCopies(),
			}, nil
		}
		if err == nil {
			err = fmt.Errorf("windows %v, placement %v", r.GetWindows(), r.GetPlacement())
		}
		if Wait(ctx, roundPause) != nil {
			return Sight{}, fmt.Errorf("%s could not be inspected: %w", d.Keys.Names[k], err)
		}
	}
}
