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
