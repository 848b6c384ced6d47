package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/overten/sluice/bench/internal/process"
)

// A sample is one process that holds keys.
type sample struct {
	held
	Hits     int   `json:"hits_per_key"` // that the window holds
	Resident int64 `json:"resident_bytes"`
	Peak     int64 `json:"peak_resident_bytes"`
	// The process's whole resident memory, divided by the keys; and what of it is more
	// than that of a process with no key.
	PerKey    float64 `json:"bytes_per_key"`
	PerKeyNet float64 `json:"bytes_per_key_net"`
}

// measure reads an empty process, then each number of keys, then full ones.
func measure(ctx context.Context, o options, progress io.Writer) (report, error) {
	var r report
	empty, err := read(ctx, filling{})
	if err != nil {
		return r, err
	}
	r.Empty = empty.Resident
	fmt.Fprintf(progress, "a process with an empty table: %.1f MiB\n\n", mib(empty.Resident))
	writeHeading(progress)
	take := func(f filling) (sample, error) {
		s, err := read(ctx, f)
		if err != nil {
			return s, err
		}
		s.PerKey = float64(s.Resident) / float64(s.Keys)
		s.PerKeyNet = float64(s.Resident-empty.Resident) / float64(s.Keys)
		s.write(progress)
		return s, nil
	}
	for keys := o.from; keys <= o.to; keys += o.step {
		s, err := take(filling{keys: keys, hits: fewHits, over: fewOver})
		if err != nil {
			return r, err
		}
		r.Few = append(r.Few, s)
	}
	for _, f := range []struct {
		filling
		into *sample
	}{
		{filling{keys: o.full, hits: fullHits, over: fullOver}, &r.Full},
		{filling{keys: o.full, hits: rollHits, over: rollOver}, &r.Rolling},
	} {
		if *f.into, err = take(f.filling); err != nil {
			return r, err
		}
	}
	return r, nil
}

// read starts a process that holds the filling, and reads its memory as soon as it does.
func read(ctx context.Context, f filling) (sample, error) {
	child, err := process.Start(ctx, f.args()...)
	if err != nil {
		return sample{}, err
	}
	memory, err := process.ReadMemory(child.PID())
	if stopErr := child.Stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return sample{}, err
	}
	s := sample{Hits: f.live(), Resident: memory.Resident, Peak: memory.Peak}
	if err := json.Unmarshal([]byte(child.Ready), &s.held); err != nil {
		return sample{}, err
	}
	if s.Keys != f.keys {
		return sample{}, fmt.Errorf("the process holds %d keys, want %d", s.Keys, f.keys)
	}
	return s, nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
