package main

import (
	"os"
	"runtime"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/process"
)

// A reading is what the processors have done up to a time.
type reading struct {
	at      time.Time
	machine time.Duration // for all programs
	ours    time.Duration // for this one and the nodes
	ok      bool
}

// meter reads what the processors have done, for a fleet and all others.
func meter(f *fleet.Fleet) reading {
	r := reading{at: time.Now()}
	var err, err2 error
	r.machine, err = process.MachineCPU()
	r.ours, err2 = process.CPU(os.Getpid())
	r.ours += f.CPU()
	r.ok = err == nil && err2 == nil
	return r
}

// othersTo is the share of all processors that other programs had from one reading to
// another; -1 if it cannot be told.
func (r reading) othersTo(to reading) float64 {
	if !r.ok || !to.ok || !to.at.After(r.at) {
		return -1
	}
	others := (to.machine - r.machine) - (to.ours - r.ours)
	return max(0, float64(others)/float64(to.at.Sub(r.at))/float64(runtime.NumCPU()))
}
