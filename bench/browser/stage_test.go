//go:build browser

// Package browser_test opens the page of a node in a real browser, while three nodes that run as
// processes serve a little load: what the page shows, that a browser finds nothing to complain
// of, and that an API key that is asked for shows nowhere. It also takes the pictures of
// docs/captures.
//
//	make test-browser
//	make captures
//
// It needs Chromium, and for the pictures tmux. It is part of this module, as the library that
// drives the browser is large and nothing that a user of Sluice should have to fetch.
package browser_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/limiter/policy"
)

// shown is the key that the form is asked for, refused one that the directory has suspended.
const (
	shown   = "sk_test_2kXv7mQwTzR4"
	refused = "sk_test_9bNpL0cYhJd8"
)

var tiers = `
tiers:
  free:       {windows: [{limit: 10, per: 1m}], concurrent: 2}
  pro:        {windows: [{limit: 60, per: 1m}], concurrent: 5}
  enterprise: {windows: [{limit: 50, per: 1s}, {limit: 600, per: 1m}], concurrent: 50}
default_tier: free
keys:
  - {sha256: ` + policy.HashKey(shown) + `, tier: pro, status: active}
  - {sha256: ` + policy.HashKey(refused) + `, tier: pro, status: suspended}
`

// A stage is a cluster of three nodes under a little load.
type stage struct {
	*fleet.Fleet
	binary, dir string
}

// build returns the path of a new sluice.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sluice")
	cmd := exec.Command("go", "build", "-pgo=off", "-trimpath", "-o", binary, "./cmd/sluice")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// start starts the nodes, waits until they have settled, and has them asked until the test ends.
func start(t *testing.T) *stage {
	t.Helper()
	s := &stage{binary: build(t), dir: t.TempDir()}
	var err error
	s.Fleet, err = fleet.New(fleet.Config{Binary: s.binary, Dir: s.dir, Nodes: 3, Policy: tiers, Ready: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, n := range s.Nodes {
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	for i, n := range s.Nodes {
		begin(t, n.Address(), uint64(i))
	}
	return s
}

// page is where a node's page is.
func (s *stage) page(node int) string {
	return fmt.Sprintf("http://%s/statusz", s.Nodes[node].AdminAddress())
}

// hides fails the test if a node has logged any of what must not show.
func (s *stage) hides(t *testing.T, secrets ...string) {
	t.Helper()
	for _, n := range s.Nodes {
		log, err := os.ReadFile(n.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if bytes.Contains(log, []byte(secret)) {
				t.Errorf("the log of %s has a key", n.Name)
			}
		}
	}
}
