package client

import (
	"testing"
	"time"
)

// A miss and an answer at the same time: the answer may find the misses counted and the node not
// yet avoided. The next answer must end that.
func TestAnAnswerEndsAnAvoidanceThatHasNoMisses(t *testing.T) {
	n := &node{born: time.Now()}
	n.avoided.Store(int64(time.Hour))
	n.heard()
	if !n.admits(time.Now()) {
		t.Error("a node that answers is avoided")
	}
}

// A node that answers others is not silent: what waits there, as when whom it passes calls on to has
// stopped, is no reason to avoid it. A flight of such calls once left callers nobody to ask.
func TestOneThatAnswersOthersIsNotAvoided(t *testing.T) {
	begun := time.Now()
	now := begun.Add(mostTry)
	for _, answers := range []bool{true, false} {
		n := &node{born: begun}
		if answers {
			n.hasAnswered(begun.Add(leastTry))
		}
		for range missesAllowed {
			q := &question{answers: make(chan *answer, roomForAnswers)}
			(&try{question: q, begun: begun}).miss(n, now)
			if a := <-q.answers; !a.silent() {
				t.Errorf("its caller is told %+v", a)
			}
		}
		if n.promising() != answers {
			t.Errorf("it answers others: %v, and is worth a try: %v", answers, n.promising())
		}
	}
}
