package server

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/metrics"
)

// A policy file that could not be read, here as it is a folder, was once not read again until it
// was another: that it may be read changes neither its number nor its size nor its time.
func TestAPolicyThatCannotBeReadIsTriedAgain(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "policy.yaml"), new(strings.Builder)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	n := &Node{
		log: slog.New(slog.NewTextHandler(log, nil)), metrics: metrics.New(),
		policy: policy.Default(), policyFile: &policyFile{path: path},
	}
	n.policyFile.changed() // the first look
	for i := range 5 {
		if !n.policyFile.changed() {
			t.Errorf("look %d: the file is not tried", i)
		}
		n.lookLocked()
	}
	page := httptest.NewRecorder()
	n.metrics.SetReader(func() metrics.Readings { return metrics.Readings{} })
	n.metrics.Handler("").ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if !strings.Contains(page.Body.String(), `sluice_policy_reloads_total{result="refused"} 1`+"\n") {
		t.Errorf("the refusal is not counted once:\n%s", page.Body)
	}
	if told := strings.Count(log.String(), "the old policy stays"); told != 1 || !strings.Contains(log.String(), "is a directory") {
		t.Errorf("told %d times, want once: %s", told, log)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no policy"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.policyFile.changed()
	n.lookLocked()
	if n.policyFile.changed() {
		t.Error("a file that is wrong is tried again, though it is the same")
	}
}
