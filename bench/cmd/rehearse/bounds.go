package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
)

// What may be forgotten with a pod: what it answered in the last of its time.
const (
	lastOfKilled = 30 * time.Millisecond
)

// formed is within which a first start must come to one view.
const formed = 10 * time.Second

// bounds are what must hold in an act. Besides, no act may start with a pod that is ready too
// early, lose or double a lease, count what was not asked for, or deny what no try explains.
type bounds struct {
	forgets bool           // what lost pods answered last may be given again
	twice   bool           // each side of a split may give a key its limit
	leases  bool           // a side that never had a lease tells that it is gone
	failed  [gateways]bool // calls may fail, by gateway
	joined  time.Duration  // within which a pod that comes again is a full member; 0: none does
}

var (
	planned = bounds{}
	crashed = bounds{forgets: true}
)

// stuck allows calls of the gateway behind the Service to fail: it notices only by keepalive, after
// 10 s, that a connection leads to a pod that is cut off.
func (b bounds) stuck() bounds {
	b.failed[service] = true
	return b
}

func (b bounds) joinedWithin(d time.Duration) bounds {
	b.joined = d
	return b
}

// excess is by how much a finding is beyond what the act allows: units that a key got, and units
// that were forgotten.
func (b bounds) excess(f audit.Finding) (over, uncounted uint64) {
	switch {
	case b.forgets:
		return f.Over - min(f.Over, f.Excused), f.Uncounted - min(f.Uncounted, f.Excused)
	case b.twice: // no hit is forgotten
		return f.Over - min(f.Over, limit), f.Uncounted
	}
	return f.Over, f.Uncounted
}

// judge says what of a result breaks the bounds.
func (b bounds) judge(r *result) (broken []string) {
	say := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if r.OverExcess > 0 {
		say("over-admitted: %d units more than the act allows", r.OverExcess)
	}
	if r.UncountedExcess > 0 {
		say("forgotten: %d units that were allowed are not counted, more than the act allows", r.UncountedExcess)
	}
	if r.Overcounted > 0 {
		say("counted out of nothing: %d units", r.Overcounted)
	}
	if r.Denied > 0 {
		say("denied too early: %d units beyond tries that may have been counted", r.Denied)
	}
	for g, n := range r.Failed {
		if n > 0 && !b.failed[g] {
			say("failed: %d calls of the gateway %s", n, gatewayNames[g])
		}
	}
	if b.joined > 0 && r.Joined > b.joined {
		say("the pod that came again was a full member after %s, not %v", span(r.Joined), b.joined)
	}
	if r.Formed > formed {
		say("the first start came to one view after %s, not %v", span(r.Formed), formed)
	}
	if len(r.ReadyEarly) > 0 {
		say("ready too early: %s", strings.Join(r.ReadyEarly, "; "))
	}
	if l := r.Leases; !b.leases && l.Lost+l.Doubled+l.Left > 0 {
		say("leases: %d lost, %d doubled, %d left", l.Lost, l.Doubled, l.Left)
	}
	return broken
}

// String is what the bounds come to.
func (b bounds) String() string {
	text := "0 over"
	switch {
	case b.forgets:
		text = "its last answers over"
	case b.twice:
		text = "limit x 2"
	}
	if b.leases {
		text += ", leases of a side"
	}
	switch b.failed {
	case [gateways]bool{}:
		text += ", 0 failed"
	case [gateways]bool{service: true}:
		text += ", 0 failed by the Go client"
	}
	if b.joined > 0 {
		text += fmt.Sprintf(", member in %v", b.joined)
	}
	return text
}
