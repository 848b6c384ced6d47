//go:build python

package contract

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// TestPythonClient runs testdata/sample_client.py against every code. It needs
// python3 and fails without it.
func TestPythonClient(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(serveCode))
	defer srv.Close()
	run := func(t *testing.T, path, want string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "python3", "testdata/sample_client.py", srv.URL+path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: the client took %q, want %q", path, got, want)
		}
	}

	for i, e := range Catalogue() {
		t.Run(string(e.Code), func(t *testing.T) {
			want := clientBranches[i]
			if e.Code != want.code || e.Retry != want.rule {
				t.Errorf("the rule says %s %v, want %s %v", e.Code, e.Retry, want.code, want.rule)
			}
			run(t, "/"+string(e.Code), fmt.Sprintf("%s %d", want.branch, want.wait))
		})
	}
	t.Run("default wait", func(t *testing.T) { run(t, "/rate_limit_exceeded?bare", branchWait+" 30") })
	t.Run("success", func(t *testing.T) { run(t, "/", "ok 0") })
}
