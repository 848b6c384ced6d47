// Package health says whether a cluster is well, from what its members told of themselves: one
// judgement, for the command line and for the page.
package health

import (
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// A Report is what an answer of the members means.
type Report struct {
	Headline  string   // whether all is well, in one line
	Problems  []string // the gravest first; none: the cluster is healthy. All of them pass when a node comes or goes
	Held      uint32   // partitions held by the members that answered
	Permitted uint32   // of those
}

// Healthy reports whether nothing is amiss.
func (r *Report) Healthy() bool { return len(r.Problems) == 0 }

// Of judges an answer.
func Of(resp *adminv1.MembersResponse) Report {
	answered := slices.DeleteFunc(slices.Clone(resp.GetMembers()), func(m *adminv1.Member) bool { return m.GetError() != "" })
	var r Report
	for _, m := range answered {
		r.Held += m.GetHeld()
		r.Permitted += m.GetHeld() - min(m.GetHeld(), m.GetWaiting())
	}
	r.Problems = slices.Concat(
		alone(resp.GetMembers()), together(answered),
		r.holding(resp, len(answered) < len(resp.GetMembers())), copying(answered, len(resp.GetMembers()) > 1),
	)
	r.Headline = r.headline(resp, answered)
	return r
}

// alone tells of each member by itself.
func alone(members []*adminv1.Member) (problems []string) {
	for _, m := range members {
		if m.GetError() != "" {
			problems = append(problems, fmt.Sprintf("%s does not answer: %s", m.GetName(), m.GetError()))
		}
	}
	for _, m := range members {
		if m.GetError() == "" && m.GetState() != adminv1.NodeState_NODE_STATE_SERVING {
			problems = append(problems, m.GetName()+" is "+State(m))
		}
	}
	return problems
}

// together tells in what the members that answered do not agree.
func together(answered []*adminv1.Member) (problems []string) {
	if who := byValue(answered, View); len(who) > 1 {
		problems = append(problems, "members go by different views: "+strings.Join(who, ", "))
	} else if len(answered) > 0 && answered[0].GetViewId() == 0 {
		problems = append(problems, "no member has a view yet")
	}
	if who := byValue(answered, (*adminv1.Member).GetPolicy); len(who) > 1 {
		problems = append(problems, "members have different policies: "+strings.Join(who, ", "))
	}
	return problems
}

// holding tells of partitions that are not held once.
func (r *Report) holding(resp *adminv1.MembersResponse, someSilent bool) []string {
	all := resp.GetPartitions()
	switch {
	case r.Held < all && someSilent:
		return []string{are(all-r.Held, "partition") + " held by nobody who answered"}
	case r.Held < all:
		return []string{are(all-r.Held, "partition") + " held by nobody"}
	case r.Held > all:
		return []string{are(r.Held-all, "partition") + " held twice"}
	}
	return nil
}

// copying tells of calls that wait and of what a crash would lose.
func copying(answered []*adminv1.Member, several bool) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, m := range answered {
		if m.GetWaiting() > 0 {
			say("%s is not permitted to decide for %d of the partitions that it holds", m.GetName(), m.GetWaiting())
		}
	}
	for _, m := range answered {
		if m.GetUncopied() > 0 && several {
			say("%s holds %s without a copy", m.GetName(), plural(m.GetUncopied(), "partition"))
		}
		if m.GetUnsent() > 0 {
			say("%s has counts of %s that nobody has taken over yet", m.GetName(), plural(m.GetUnsent(), "former holding"))
		}
	}
	return problems
}

func (r *Report) headline(resp *adminv1.MembersResponse, answered []*adminv1.Member) string {
	held := fmt.Sprintf("%d of %s held, %d permitted", r.Held, plural(resp.GetPartitions(), "partition"), r.Permitted)
	members := uint32(len(resp.GetMembers()))
	who := fmt.Sprintf("%d of %s answered", len(answered), plural(members, "member"))
	if len(answered) == len(resp.GetMembers()) {
		who = plural(members, "member")
	}
	verdict := "not healthy"
	if r.Healthy() {
		verdict = "healthy"
	}
	if resp.GetAgree() && len(answered) > 0 {
		return fmt.Sprintf("%s: %s, in agreement on view %s; %s", verdict, who, Short(View(answered[0])), held)
	}
	return fmt.Sprintf("%s: %s, not in agreement; %s", verdict, who, held)
}

// byValue names the members by what they have: "8f21c0de (a, b)".
func byValue(members []*adminv1.Member, of func(*adminv1.Member) string) []string {
	names := map[string][]string{}
	var order []string
	for _, m := range members {
		v := of(m)
		if names[v] == nil {
			order = append(order, v)
		}
		names[v] = append(names[v], m.GetName())
	}
	var out []string
	for _, v := range order {
		out = append(out, fmt.Sprintf("%s (%s)", Short(v), strings.Join(names[v], ", ")))
	}
	return out
}

// State is what a member is about, in one word; "" if it did not answer.
func State(m *adminv1.Member) string {
	if m.GetState() == adminv1.NodeState_NODE_STATE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(m.GetState().String(), "NODE_STATE_"))
}

// View is the fingerprint of a member's view: 16 hex digits, or "" if it has none.
func View(m *adminv1.Member) string {
	if m.GetViewId() == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", m.GetViewId())
}

// Short returns enough of a fingerprint to tell it from others by eye.
func Short(fingerprint string) string {
	if fingerprint == "" {
		return "none"
	}
	return fingerprint[:min(8, len(fingerprint))]
}

func plural(n uint32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func are(n uint32, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return plural(n, what) + " are"
}
