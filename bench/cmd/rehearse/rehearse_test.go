package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/bench/internal/audit"
	"github.com/overten/sluice/bench/internal/gateway"
	"github.com/overten/sluice/bench/internal/sandbox"
)

func TestJudge(t *testing.T) {
	joins := planned.joinedWithin(5 * time.Second)
	for _, c := range []struct {
		bounds bounds
		result result
		want   string // in what is broken; "": nothing is
	}{
		{planned, result{}, ""},
		{planned, result{Over: 1, OverExcess: 1}, "over-admitted: 1"},
		{crashed, result{Over: 3, Excused: 4, Early: 2}, ""},
		{planned, result{Early: 2}, ""},
		{crashed, result{Early: 2, Denied: 1}, "denied too early: 1"},
		{planned, result{UncountedExcess: 2}, "forgotten: 2"},
		{planned, result{Overcounted: 2}, "out of nothing: 2"},
		{planned, result{Failed: [gateways]int{dns: 2}}, "2 calls of the gateway dns"},
		{planned.stuck(), result{Failed: [gateways]int{service: 2}}, ""},
		{planned.stuck(), result{Failed: [gateways]int{dns: 1, service: 2}}, "1 calls of the gateway dns"},
		{joins, result{Joined: 5 * time.Second}, ""},
		{joins, result{Joined: 6 * time.Second}, "full member after 6s"},
		{planned, result{Formed: 11 * time.Second}, "one view after 11s"},
		{planned, result{ReadyEarly: []string{"sluice-1"}}, "ready too early: sluice-1"},
		{planned, result{Leases: gateway.Leases{Held: 5}}, ""},
		{planned, result{Leases: gateway.Leases{Doubled: 1}}, "0 lost, 1 doubled"},
	} {
		broken := strings.Join(c.bounds.judge(&c.result), "; ")
		if c.want == "" && broken != "" || !strings.Contains(broken, c.want) {
			t.Errorf("%v, %+v: broken are %q, want %q", c.bounds, c.result, broken, c.want)
		}
	}
}

func TestExcess(t *testing.T) {
	f := audit.Finding{Over: 3, Uncounted: 4, Excused: 2}
	for _, c := range []struct {
		bounds          bounds
		over, uncounted uint64
	}{{planned, 3, 4}, {crashed, 1, 2}, {bounds{twice: true}, 0, 4}} {
		if over, uncounted := c.bounds.excess(f); over != c.over || uncounted != c.uncounted {
			t.Errorf("%v: %d and %d, want %d and %d", c.bounds, over, uncounted, c.over, c.uncounted)
		}
	}
	if over, _ := (bounds{twice: true}).excess(audit.Finding{Over: limit + 5}); over != 5 {
		t.Errorf("beyond twice the limit are %d", over)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	writeTable(&b, []result{
		{Act: "eviction", Bound: planned.joinedWithin(5 * time.Second).String(), Longest: 242 * time.Millisecond, Formed: 2 * time.Second, Joined: 1230 * time.Millisecond},
		{Act: "node-lost", Bound: crashed.String(), Over: 2, Excused: 7, Failed: [gateways]int{1, 2}, Stalled: -1, Broken: []string{"failed"}},
	}, []string{"upgrade: there is no earlier build"})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{
		"eviction 0 0 (0) 0 / 0 242ms 2s 0s 1.23s 0 / 0 / 0 0s 0 over, 0 failed, member in 5s holds",
		"node-lost 2 (7) 0 (0) 1 / 2 0s 0s 0s - 0 / 0 / 0 ? its last answers over, 0 failed BROKEN",
		"left out: upgrade: there is no earlier build",
	} {
		if got := strings.Join(strings.Fields(lines[len(lines)-3+i]), " "); got != want {
			t.Errorf("row %d is %q, want %q", i, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-short", "-acts", "eviction|upgrade", "-o", "json"}, nil)
	if err != nil || o.minReady != time.Second || !o.json || o.seed == 0 || !o.acts.MatchString("upgrade") || o.acts.MatchString("upgrades") {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if o, err = parse([]string{"-short", "-min-ready", "7s"}, nil); err != nil || o.minReady != 7*time.Second || !o.acts.MatchString("cut-off") {
		t.Errorf("parse = %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-keys", "0"}, {"-rate", "0"}, {"-min-ready", "-1s"}, {"-o", "xml"}, {"-acts", "("}} {
		if _, err := parse(args, nil); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("parse(%q): error %v, want one that names it", args, err)
		}
	}
}

func TestWhatIsImpossibleIsSaid(t *testing.T) {
	network := new(sandbox.Loopback)
	for _, c := range []struct {
		act      act
		previous string
		want     string
	}{
		{act{}, "", ""},
		{act{private: true}, "", "no network"},
		{act{previous: true}, "", "no earlier build"},
		{act{previous: true}, "binary", ""},
	} {
		if got := impossible(c.act, options{previous: c.previous}, network); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", c.act, got, c.want)
		}
	}
}

// The newest build that differs is the one to upgrade from.
func TestEarlier(t *testing.T) {
	root := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if from, err := earlier(t.Context(), root, ""); from != "" || err != nil {
		t.Errorf("without a history: %q, %v", from, err)
	}
	commit := func(file string) string {
		t.Helper()
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", "-A")
		git("commit", "-q", "-m", file)
		return git("rev-parse", "--short", "HEAD")
	}
	git("init", "-q", "-b", "main")
	first := commit("cmd/main.go")
	if from, err := earlier(t.Context(), root, ""); from != "" || err != nil {
		t.Errorf("with one build: %q, %v", from, err)
	}
	commit("cmd/more.go")
	commit("docs/words.md")
	commit("cluster/more_test.go")
	if from, err := earlier(t.Context(), root, ""); from != first || err != nil {
		t.Errorf("%q, %v, want %s", from, err, first)
	}
	if err := os.WriteFile(filepath.Join(root, "cmd", "main.go"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := git("rev-parse", "--short", "HEAD")
	if from, err := earlier(t.Context(), root, ""); from != head || err != nil {
		t.Errorf("with changes that are not committed: %q, %v, want %s", from, err, head)
	}
	if from, err := earlier(t.Context(), root, "main~3"); from != first || err != nil {
		t.Errorf("the one that was asked for: %q, %v, want %s", from, err, first)
	}
	if _, err := earlier(t.Context(), root, "nothing"); err == nil || !strings.Contains(err.Error(), "-from") {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	const nobody = "4194304" // above all ids
	gone, here := filepath.Join(dir, folder+nobody+"-1", binaries), filepath.Join(dir, folder+"1-1", binaries)
	for _, d := range []string{gone, here} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("what a run that was killed has left is there: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(gone)); err != nil {
		t.Errorf("its logs: %v", err)
	}
	if _, err := os.Stat(here); err != nil {
		t.Errorf("what another run needs is gone: %v", err)
	}
}
