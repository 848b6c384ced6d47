package main

import (
	"fmt"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
)

// What a key may get beyond its limit.
type allowance int

const (
	nothing     allowance = iota
	lostAnswers           // what was answered of the lost nodes' keys in their last moments and just after
	lateAnswers           // the same of a node that fell silent, which still knows of it
	orphans               // that, and all if the key's holder and copies died together
	twice                 // as much again
)

// bounds are what must hold in an event. What a node counts without having been asked for
// it breaks every event, and so does what befalls a lease.
type bounds struct {
	over        allowance
	deniedNever bool          // no key is denied early
	denied      bool          // no key is denied early by more than tries that may have been counted
	failed5s    bool          // no call of the patient gateways fails
	failed50ms  bool          // no call of the impatient ones does
	answered    time.Duration // within which all keys are answered again; 0: whatever it is
	agreed      time.Duration // within which all nodes agree; 0: as long as is waited
}

func (b bounds) with(change func(*bounds)) bounds {
	change(&b)
	return b
}

// excess is by how much a finding is beyond what the event allows: units that a key got,
// and units that were forgotten.
func (b bounds) excess(f audit.Finding, orphan bool, limit uint32) (over, uncounted uint64) {
	more := uint64(0)
	switch b.over {
	case lostAnswers, lateAnswers:
		more = f.Excused
	case twice:
		more = uint64(limit)
	case orphans:
		if more = f.Excused; orphan && f.Degraded {
			more = max(f.Over, f.Uncounted)
		}
	}
	over = f.Over - min(f.Over, more)
	if b.over == lateAnswers || b.over == twice {
		more = 0 // no hit is forgotten
	}
	return over, f.Uncounted - min(f.Uncounted, more)
}

// judge says what of a result breaks the bounds: what no slowness explains, and what a
// machine that has no time for its programs can break as well.
func (b bounds) judge(r *result) (broken, slow []string) {
	say := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	late := func(format string, args ...any) { slow = append(slow, fmt.Sprintf(format, args...)) }
	if r.OverExcess > 0 {
		say("over-admitted: %d units more than the event allows", r.OverExcess)
	}
	if r.UncountedExcess > 0 {
		say("forgotten: %d units that were allowed are not counted, more than the event allows", r.UncountedExcess)
	}
	if r.Overcounted > 0 {
		say("counted out of nothing: %d units", r.Overcounted)
	}
	if b.deniedNever && r.Early > 0 {
		late("falsely denied: %d units, though tries explain it that may have been counted", r.Early)
	}
	if (b.denied || b.deniedNever) && r.Denied > 0 {
		say("falsely denied: %d units beyond tries that may have been counted", r.Denied)
	}
	if b.failed5s && r.Failed[patient] > 0 {
		say("failed at 5 s: %d calls", r.Failed[patient])
	}
	if b.failed50ms && r.Failed[impatient] > 0 {
		late("failed at 50 ms: %d calls", r.Failed[impatient])
	}
	if b.answered > 0 && r.Answered > b.answered {
		late("all keys were answered after %s, not %v", span(r.Answered), b.answered)
	}
	if b.agreed > 0 && r.Agreed > b.agreed {
		say("all nodes agreed after %s, not %v", span(r.Agreed), b.agreed)
	}
	if l := r.Leases; l.Lost+l.Doubled+l.Left > 0 {
		say("leases: %d lost, %d doubled, %d left", l.Lost, l.Doubled, l.Left)
	}
	return broken, slow
}
