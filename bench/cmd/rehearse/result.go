package main

import (
	"fmt"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/gateway"
)

// A result is what came of an act, in units, calls and nanoseconds.
type result struct {
	Act   string `json:"act"`
	Bound string `json:"bound"`

	Over            uint64         `json:"over_admitted"`
	OverExcess      uint64         `json:"over_admitted_beyond_bound"`
	Excused         uint64         `json:"last_answers_of_lost_pods"`
	Early           uint64         `json:"denied_early"`
	Denied          uint64         `json:"denied_early_beyond_doubt"`
	Uncounted       uint64         `json:"allowed_not_counted"`
	UncountedExcess uint64         `json:"allowed_not_counted_beyond_bound"`
	Overcounted     uint64         `json:"counted_not_asked"`
	Calls           [gateways]int  `json:"calls"`
	Failed          [gateways]int  `json:"failed"`
	Longest         time.Duration  `json:"longest_ns"`
	Formed          time.Duration  `json:"first_start_ns"`
	ReadyEarly      []string       `json:"ready_too_early,omitempty"`
	Settled         time.Duration  `json:"settled_after_ns"` // at most
	Joined          time.Duration  `json:"joined_after_ns,omitempty"`
	Stalled         time.Duration  `json:"machine_stood_still_ns"` // at most; -1: not known
	Took            time.Duration  `json:"took_ns"`
	Leases          gateway.Leases `json:"leases"`
	Broken          []string       `json:"broken"`
	Details         []string       `json:"details,omitempty"`
	Logs            string         `json:"logs,omitempty"`
}

// maxDetails bounds what is told of one kind.
const maxDetails = 5

// clock sums up how calls went.
func (s *scene) clock() {
	r := &s.result
	for _, c := range s.Log.Calls() {
		if c.Group == gateway.Bulk {
			continue
		}
		r.Calls[c.Group]++
		if r.Longest = max(r.Longest, c.Ended-c.Began); c.Outcome != audit.Failed {
			continue
		}
		if r.Failed[c.Group]++; r.Failed[c.Group] <= maxDetails {
			r.Details = append(r.Details, fmt.Sprintf("failed, gateway %s: %s, held by %v before, asked %v after the act began, failed %v later: %v",
				gatewayNames[c.Group], s.Keys.Names[c.Key], s.before[c.Key], (c.Began-s.began).Round(time.Millisecond), (c.Ended-c.Began).Round(time.Millisecond), c.Err))
		}
	}
}

// weigh sums up what was found of the keys.
func (s *scene) weigh(findings []audit.Finding, after []gateway.Sight) {
	r, told := &s.result, 0
	for _, f := range findings {
		over, uncounted := s.act.bounds.excess(f)
		r.Over += f.Over
		r.OverExcess += over
		r.Excused += f.Excused
		r.Uncounted += f.Uncounted
		r.UncountedExcess += uncounted
		r.Overcounted += f.Overcounted
		r.Early += f.Early
		r.Denied += f.Denied
		wrong := over+uncounted+f.Overcounted+f.Denied > 0
		if told++; wrong && told <= maxDetails {
			r.Details = append(r.Details, fmt.Sprintf("%s: over %d, denied early %d (%d beyond doubt), not counted %d, counted for nothing %d (excused: %d); held by %v before and by %v in the end, which counts %d",
				s.Keys.Names[f.Key], f.Over, f.Early, f.Denied, f.Uncounted, f.Overcounted, f.Excused, s.before[f.Key], after[f.Key], after[f.Key].Count.Used))
		} else if !wrong {
			told--
		}
	}
}
