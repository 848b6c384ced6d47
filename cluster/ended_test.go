package cluster

import (
	"testing"

	"github.com/overten/sluice/cluster/gossip"
	"github.com/overten/sluice/cluster/gossip/gossiptest"
)

func TestMain(m *testing.M) { gossiptest.VerifyTestMain(m) }

// Who has provably died owns nothing any more, whatever gossip says, until the name lives
// again or the proof turns out to be wrong.
func TestEndedLivesAreNoMembers(t *testing.T) {
	var e ended
	e.init()
	members := func(boot uint64) []gossip.Meta { return []gossip.Meta{{Name: "a", Boot: 1}, {Name: "b", Boot: boot}} }
	expect := func(when string, boot uint64, want int, stirred bool) {
		t.Helper()
		told := false
		select {
		case <-e.changed:
			told = true
		default:
		}
		if got := e.without(members(boot)); len(got) != want || told != stirred {
			t.Errorf("%s: %d members, want %d; a new view asked for: %v", when, len(got), want, told)
		}
	}
	expect("nobody has died", 1, 2, false)
	e.note("b", 1)
	expect("b has died", 1, 1, true)
	e.heard("a", 1)
	e.heard("b", 2)
	expect("others are heard", 1, 1, false)
	e.heard("b", 1)
	expect("b lives after all", 1, 2, true)
	e.note("b", 1)
	expect("b dies", 1, 1, true)
	expect("b lives again", 2, 2, false)
	if e.some.Load() {
		t.Error("what gossip has given up is remembered")
	}
}
