package client

import (
	"testing"
	"time"
)

// A timer that fires late, on a machine that is short of time, finds a try that was to have
// more time past its deadline. The caller must be told all the same: it waits for nothing else.
func TestLateTimerForgetsNobody(t *testing.T) {
	n := &node{born: time.Now().Add(-time.Hour)}
	n.hasAnswered(time.Now())
	q := &question{answers: make(chan *answer, roomForAnswers)}
	begun := time.Now().Add(-time.Second)
	late := &try{question: q, begun: begun, due: begun.Add(40 * time.Millisecond), deadline: begun.Add(50 * time.Millisecond)}
	f := &flight{tries: []*try{late}, timer: time.NewTimer(time.Hour)}
	newStream(n).expire(f)
	select {
	case a := <-q.answers:
		if !a.silent() || a.node != n {
			t.Errorf("told %+v", a)
		}
	default:
		t.Error("a caller whose deadline is over was told nothing")
	}
}
