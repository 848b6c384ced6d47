package main

import (
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// statusJSON is a cluster as `status -o json` prints it, named as in the API.
type statusJSON struct {
	Healthy    bool         `json:"healthy"`
	Agree      bool         `json:"agree"`
	Problems   []string     `json:"problems"` // empty if and only if healthy
	AnsweredBy string       `json:"answered_by"`
	Partitions uint32       `json:"partitions"`
	Held       uint32       `json:"held"`      // by all members that answered
	Permitted  uint32       `json:"permitted"` // of those
	Members    []memberJSON `json:"members"`
}

type memberJSON struct {
	Name        string `json:"name"`
	Error       string `json:"error,omitempty"`
	State       string `json:"state"`
	Version     string `json:"version"`
	Boot        uint64 `json:"boot"`
	UptimeMS    uint64 `json:"uptime_ms"`
	GRPC        string `json:"grpc_address"`
	Peer        string `json:"peer_address"`
	Admin       string `json:"admin_address"`
	View        string `json:"view_id"` // 16 hex digits, as it is above what a JSON number holds; "": none
	ViewMembers uint32 `json:"view_members"`
	Policy      string `json:"policy"`
	Keys        uint64 `json:"keys"`
	Owned       uint32 `json:"owned"`
	Held        uint32 `json:"held"`
	Waiting     uint32 `json:"waiting"`
	Copies      uint32 `json:"copies"`
	Uncopied    uint32 `json:"uncopied"`
	Unsent      uint32 `json:"unsent"`
	CopyLagMS   uint32 `json:"copy_lag_ms"`
}

// statusOf tells what an answer means.
func statusOf(resp *adminv1.MembersResponse) statusJSON {
	s := statusJSON{Agree: resp.GetAgree(), AnsweredBy: resp.GetAnsweredBy(), Partitions: resp.GetPartitions(), Members: []memberJSON{}}
	for _, m := range resp.GetMembers() {
		view := ""
		if m.GetViewId() != 0 {
			view = fmt.Sprintf("%016x", m.GetViewId())
		}
		s.Members = append(s.Members, memberJSON{
			Name: m.GetName(), Error: m.GetError(), State: enumName(m.GetState(), "NODE_STATE_"), Version: m.GetVersion(),
			Boot: m.GetBoot(), UptimeMS: m.GetUptimeMs(), GRPC: m.GetGrpcAddress(), Peer: m.GetPeerAddress(), Admin: m.GetAdminAddress(),
			View: view, ViewMembers: m.GetViewMembers(), Policy: m.GetPolicy(), Keys: m.GetKeys(),
			Owned: m.GetOwned(), Held: m.GetHeld(), Waiting: m.GetWaiting(), Copies: m.GetCopies(), Uncopied: m.GetUncopied(),
			Unsent: m.GetUnsent(), CopyLagMS: m.GetCopyLagMs(),
		})
		if m.GetError() == "" {
			s.Held += m.GetHeld()
			s.Permitted += m.GetHeld() - min(m.GetHeld(), m.GetWaiting())
		}
	}
	s.Problems = problems(&s)
	s.Healthy = len(s.Problems) == 0
	return s
}

// problems says what is amiss, the gravest first. All of it passes when a node comes or goes.
func problems(s *statusJSON) []string {
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	answered := s.answered()
	for _, m := range s.Members {
		if m.Error != "" {
			say("%s does not answer: %s", m.Name, m.Error)
		}
	}
	for _, m := range answered {
		if m.State != "serving" {
			say("%s is %s", m.Name, m.State)
		}
	}
	if who := byValue(answered, func(m memberJSON) string { return m.View }); len(who) > 1 {
		say("members go by different views: %s", strings.Join(who, ", "))
	} else if len(answered) > 0 && answered[0].View == "" {
		say("no member has a view yet")
	}
	if who := byValue(answered, func(m memberJSON) string { return m.Policy }); len(who) > 1 {
		say("members have different policies: %s", strings.Join(who, ", "))
	}
	switch {
	case s.Held < s.Partitions && len(answered) < len(s.Members):
		say("%s held by nobody who answered", are(s.Partitions-s.Held, "partition"))
	case s.Held < s.Partitions:
		say("%s held by nobody", are(s.Partitions-s.Held, "partition"))
	case s.Held > s.Partitions:
		say("%s held twice", are(s.Held-s.Partitions, "partition"))
	}
	for _, m := range answered {
		if m.Waiting > 0 {
			say("%s is not permitted to decide for %d of the partitions that it holds", m.Name, m.Waiting)
		}
	}
	for _, m := range answered {
		if m.Uncopied > 0 && len(s.Members) > 1 {
			say("%s holds %s without a copy", m.Name, plural(m.Uncopied, "partition"))
		}
		if m.Unsent > 0 {
			say("%s has counts of %s that nobody has taken over yet", m.Name, plural(m.Unsent, "former holding"))
		}
	}
	return out
}

func (s *statusJSON) answered() []memberJSON {
	return slices.DeleteFunc(slices.Clone(s.Members), func(m memberJSON) bool { return m.Error != "" })
}

// headline says in one line whether all is well.
func (s *statusJSON) headline() string {
	held := fmt.Sprintf("%d of %s held, %d permitted", s.Held, plural(s.Partitions, "partition"), s.Permitted)
	answered := s.answered()
	who := fmt.Sprintf("%d of %s answered", len(answered), plural(uint32(len(s.Members)), "member"))
	if len(answered) == len(s.Members) {
		who = plural(uint32(len(s.Members)), "member")
	}
	verdict := "not healthy"
	if s.Healthy {
		verdict = "healthy"
	}
	if s.Agree && len(answered) > 0 {
		return fmt.Sprintf("%s: %s, in agreement on view %s; %s", verdict, who, short(answered[0].View), held)
	}
	return fmt.Sprintf("%s: %s, not in agreement; %s", verdict, who, held)
}

// byValue names the members by what they have: "8f21c0de (a, b)".
func byValue(members []memberJSON, of func(memberJSON) string) []string {
	names := map[string][]string{}
	var order []string
	for _, m := range members {
		v := of(m)
		if names[v] == nil {
			order = append(order, v)
		}
		names[v] = append(names[v], m.Name)
	}
	var out []string
	for _, v := range order {
		out = append(out, fmt.Sprintf("%s (%s)", short(v), strings.Join(names[v], ", ")))
	}
	return out
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
