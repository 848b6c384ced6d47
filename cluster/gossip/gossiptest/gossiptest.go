// Package gossiptest looks for goroutines that tests of gossiping nodes leave behind.
package gossiptest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience outlasts the longest probe: its interval, which doubts of its own node's health
// stretch up to eightfold.
const patience = 15 * time.Second

// VerifyTestMain runs the tests of a package and fails if a goroutine outlives them.
func VerifyTestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := Ended(); err != nil {
			fmt.Fprintln(os.Stderr, "after tests that passed:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Ended waits until no goroutine is left but those ignored, and returns an error that names
// those that stay. Memberlist's shutdown does not wait for a probe under way, which ends by its
// own time-out.
func Ended(ignore ...goleak.Option) error {
	var left error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if left = goleak.Find(ignore...); left == nil {
			return nil
		}
	}
	return left
}
