package audit

import (
	"errors"
	"testing"
	"time"
)

const sec = time.Second

var rule = Rule{Limit: 3, Window: 60 * sec, Late: 5 * time.Millisecond}

// try is one that was answered a millisecond after it was sent.
func try(sent time.Duration, units uint32, o Outcome) Try {
	t := Try{Units: units, Sent: sent, Answered: sent + time.Millisecond, Outcome: o}
	if o == Unanswered {
		t.Answered = Never
	}
	return t
}

func call(t Try) Call {
	return Call{Units: t.Units, Began: t.Sent, Ended: t.Answered, Outcome: t.Outcome}
}

func TestJudge(t *testing.T) {
	at := func(s, ms time.Duration) time.Duration { return s*sec + ms*time.Millisecond }
	for _, c := range []struct {
		name  string
		tries []Try
		calls []Call // nil: one for each try that was answered
		used  uint64
		want  Finding
	}{
		{name: "up to the limit, then denied", tries: []Try{try(0, 1, Allowed), try(1, 2, Allowed), try(2, 1, Denied)}, used: 3},
		{name: "one too many", tries: []Try{try(0, 1, Allowed), try(1, 2, Allowed), try(2, 1, Allowed)}, used: 3, want: Finding{Over: 1}},
		{name: "one too many, in one", tries: []Try{try(0, 4, Allowed)}, used: 4, want: Finding{Over: 1}},
		{name: "the first may just have left", tries: []Try{try(0, 3, Allowed), try(at(59, 999), 3, Allowed)}, used: 3},
		{name: "the first cannot have left", tries: []Try{try(0, 3, Allowed), try(at(59, 998), 3, Allowed)}, used: 6, want: Finding{Over: 3}},
		{name: "the worst window is in the middle", tries: []Try{try(0, 3, Allowed), try(70*sec, 2, Allowed), try(80*sec, 3, Allowed), try(129*sec, 1, Allowed)}, used: 4, want: Finding{Over: 2 + 3 + 1 - 3}},
		{name: "denied early", tries: []Try{try(0, 1, Allowed), try(1, 1, Denied)}, used: 1, want: Finding{Early: 2, Denied: 2}},
		{name: "a large cost is rightly denied", tries: []Try{try(0, 1, Allowed), try(1, 3, Denied)}, used: 1},
		{name: "early, but two answers never came", tries: []Try{try(0, 1, Allowed), try(1, 2, Unanswered), try(2, 1, Denied)}, used: 3, want: Finding{Early: 2}},
		{name: "early, but for an error", tries: []Try{try(0, 2, Allowed), try(1, 1, Failed), try(2, 1, Denied)}, used: 3, want: Finding{Early: 1}},
		{name: "early by more than what is in doubt", tries: []Try{try(0, 1, Allowed), try(1, 1, Unanswered), try(2, 1, Denied)}, used: 2, want: Finding{Early: 2, Denied: 1}},
		{name: "an answer came twice, one was told", tries: []Try{try(0, 2, Allowed), try(0, 1, Allowed), try(sec, 1, Denied)},
			calls: []Call{call(try(0, 2, Allowed)), call(try(sec, 1, Denied))}, used: 3, want: Finding{Early: 1}},
		{name: "denied though it has left", tries: []Try{try(0, 3, Allowed), try(at(60, 7), 1, Denied)}, want: Finding{Early: 3, Denied: 3}},
		{name: "denied as it leaves late", tries: []Try{try(0, 3, Allowed), try(at(60, 5), 1, Denied)}},
		{name: "a hit is forgotten", tries: []Try{try(0, 2, Allowed)}, used: 1, want: Finding{Uncounted: 1}},
		{name: "hits beyond the limit are forgotten", tries: []Try{try(0, 5, Allowed)}, used: 3, want: Finding{Over: 2}},
		{name: "a hit out of nothing", tries: []Try{try(0, 1, Allowed)}, used: 2, want: Finding{Overcounted: 1}},
		{name: "a hit that may have been counted", tries: []Try{try(0, 1, Allowed), try(0, 1, Unanswered)}, used: 2},
		{name: "degraded", tries: []Try{{Units: 1, Answered: 1, Outcome: Allowed, Degraded: true}}, used: 1, want: Finding{Degraded: true}},
	} {
		if c.calls == nil {
			for _, one := range c.tries {
				if one.Outcome != Unanswered {
					c.calls = append(c.calls, call(one))
				}
			}
		}
		asked := sec
		for _, one := range c.tries {
			asked = max(asked, one.Sent+2*time.Millisecond)
		}
		got := rule.Judge(c.tries, c.calls, []Count{{Asked: asked, Answered: asked + 1, Used: c.used}}, nil)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestJudgeTellsKeysApart(t *testing.T) {
	tries := []Try{try(0, 3, Allowed), try(0, 3, Allowed), try(sec, 1, Allowed)}
	tries[1].Key, tries[2].Key = 1, 1
	count := Count{Asked: 2 * sec, Answered: 2 * sec, Used: 3}
	got := rule.Judge(tries, nil, []Count{count, count}, []Loss{
		{Keys: map[int]bool{1: true}, From: sec, To: 2 * sec},
		{Keys: map[int]bool{0: true}, From: sec, To: 2 * sec}, // key 0 was answered before
	})
	if want := (Finding{Key: 0}); got[0] != want {
		t.Errorf("key 0: %+v, want %+v", got[0], want)
	}
	if want := (Finding{Key: 1, Over: 1, Excused: 1}); got[1] != want {
		t.Errorf("key 1: %+v, want %+v", got[1], want)
	}
}

func TestLog(t *testing.T) {
	l := NewLog()
	a, b := l.Send(7, "n1", 2), l.Send(8, "n2", 1)
	l.Answer(b, Denied, true)
	broken := errors.New("broken")
	l.Call(Call{Key: 7, Outcome: Failed, Err: broken})
	tries, calls := l.Tries(), l.Calls()
	if got := tries[a]; got.Key != 7 || got.Node != "n1" || got.Units != 2 || got.Outcome != Unanswered || got.Answered != Never {
		t.Errorf("the first try is %+v", got)
	}
	if got := tries[b]; got.Key != 8 || got.Outcome != Denied || !got.Degraded || got.Answered < got.Sent {
		t.Errorf("the second try is %+v", got)
	}
	if len(calls) != 1 || !errors.Is(calls[0].Err, broken) {
		t.Errorf("calls are %+v", calls)
	}
}
