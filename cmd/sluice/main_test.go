package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// command runs the program in this process and returns its exit code and output.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	root := newRoot()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errOut)
	code = run(t.Context(), root, args)
	return code, out.String(), errOut.String()
}

// demoRun is `sluice demo` on free ports.
type demoRun struct {
	gateway string // http://…
	node    string // host:port
}

func startDemo(t *testing.T) demoRun {
	t.Helper()
	stdout, outWriter := io.Pipe()
	stderr, errWriter := io.Pipe()
	root := newRoot()
	root.SetOut(outWriter)
	root.SetErr(errWriter)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, root, []string{"demo", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0"})
		outWriter.Close()
		errWriter.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the demo ended with %d", code)
		}
	})
	var d demoRun
	d.node = find(t, stderr, regexp.MustCompile(`msg=ready grpc=(\S+)`))
	d.gateway = find(t, stdout, regexp.MustCompile(`(http://\S+:\d+)\.`))
	return d
}

// find returns what the first line that matches has in its parentheses, and lets the rest
// be written.
func find(t *testing.T, r io.Reader, what *regexp.Regexp) string {
	t.Helper()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if m := what.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return m[1]
		}
	}
	t.Fatalf("no line matches %v", what)
	return ""
}

func (d demoRun) get(t *testing.T, method, path, key, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.gateway+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// number returns a header as a number.
func number(t *testing.T, res *http.Response, header string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(res.Header.Get(header), 10, 64)
	if err != nil {
		t.Fatalf("%s is %q", header, res.Header.Get(header))
	}
	return n
}

// Ten requests of a free key pass, the eleventh is told how long to wait, and everything
// that the contract promises of headers and body holds.
func TestDemoTenRequestsAndTheEleventh(t *testing.T) {
	d := startDemo(t)
	for want := int64(9); want >= 0; want-- {
		res := d.get(t, http.MethodGet, "/verify", "sk_live_demo_free", "")
		if res.StatusCode != http.StatusOK || number(t, res, "X-RateLimit-Limit") != 10 || number(t, res, "X-RateLimit-Remaining") != want {
			t.Fatalf("with %d to remain: %s %v", want, res.Status, res.Header)
		}
		number(t, res, "X-RateLimit-Reset")
		res.Body.Close()
	}
	res := d.get(t, http.MethodGet, "/verify", "sk_live_demo_free", "")
	defer res.Body.Close()
	now := time.Now().Unix()
	body, _ := io.ReadAll(res.Body)
	var e struct {
		Success *bool
		Error   string
		Message string
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Success == nil || *e.Success || e.Error != "rate_limit_exceeded" || e.Message == "" {
		t.Errorf("body %s", body)
	}
	wait, reset := number(t, res, "Retry-After"), number(t, res, "X-RateLimit-Reset")
	if res.StatusCode != http.StatusTooManyRequests || wait < 1 || wait > 60 || number(t, res, "X-RateLimit-Remaining") != 0 {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if late := reset - (now + wait); late < -1 || late > 1 {
		t.Errorf("X-RateLimit-Reset %d, now + Retry-After %d", reset, now+wait)
	}

	// The node says the same of the key, and counts nothing when it is only looked at.
	code, out, _ := command(t, "", "check", "--addr", d.node, "--key", "sk_live_demo_free", "--cost", "0", "-o", "json")
	var check decisionJSON
	if err := json.Unmarshal([]byte(out), &check); err != nil || code != exitDenied || check.Allowed || check.Reason != "rate_limited" ||
		check.RetryAfterMS < 1 || check.RetryAfterMS > wait*1000 {
		t.Errorf("check: %d %s", code, out)
	}
}

// Of three runs of a free key at a time the third is denied; when one ends its slot is free.
func TestDemoThirdRunIsDenied(t *testing.T) {
	d := startDemo(t)
	start := func() *http.Response {
		return d.get(t, http.MethodPost, "/excel/generate", "sk_live_demo_free", `{"ms": 600000, "async": true}`)
	}
	for range 2 {
		if res := start(); res.StatusCode != http.StatusAccepted {
			t.Fatalf("%s", res.Status)
		}
	}
	res := start()
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if wait := number(t, res, "Retry-After"); res.StatusCode != http.StatusTooManyRequests || wait < 1 || wait > 6 ||
		!bytes.Contains(body, []byte("concurrent")) {
		t.Fatalf("the third: %s %v %s", res.Status, res.Header, body)
	}
	if n := number(t, res, "X-RateLimit-Remaining"); n != 8 {
		t.Errorf("the denied run took a unit: %d remain, want 8", n)
	}
	code, _, stderr := command(t, "", "acquire", "--addr", d.node, "--key", "sk_live_demo_free", "--", "true")
	if code != exitDenied || !strings.Contains(stderr, "2 of 2 runs in use") {
		t.Errorf("acquire: %d %s", code, stderr)
	}
}

func TestAcquireHoldsTheSlotWhileTheCommandRuns(t *testing.T) {
	d := startDemo(t)
	acquire := func(args ...string) (int, string, string) {
		return command(t, "", append([]string{"acquire", "--addr", d.node, "--key", "sk_live_demo_pro"}, args...)...)
	}
	code, out, stderr := acquire("--", "sh", "-c", `test -n "$SLUICE_LEASE_ID" && echo held; exit 7`)
	if code != 7 || out != "held\n" {
		t.Errorf("%d %q %q", code, out, stderr)
	}
	if code, _, _ := acquire("--", "sh", "-c", "kill -TERM $$"); code != 128+15 {
		t.Errorf("a command that a signal ended: exit code %d", code)
	}
	hung := make(chan os.Signal, 1) // what is not heard here ends the tests, and may be ignored where they run
	signal.Notify(hung, syscall.SIGHUP)
	defer signal.Stop(hung)
	if code, _, stderr := acquire("--", "sh", "-c", "kill -HUP $PPID; exec sleep 60"); code != 128+15 {
		t.Errorf("the terminal hung up: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := acquire("--", "/no/such/command"); code != exitFailed || stderr == "" {
		t.Errorf("a command that is not there: %d %q", code, stderr)
	}
	// All slots are free again: ten runs fit at a time.
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if code, _, stderr := acquire("--", "true"); code != 0 {
				t.Errorf("%d %s", code, stderr)
			}
		})
	}
	wg.Wait()
}

// A gateway that cannot start does not say that it is ready.
func TestGatewayIsReadyOnceItIs(t *testing.T) {
	code, _, stderr := command(t, "", "gateway", "--listen", "127.0.0.1:0")
	if code != exitFailed || !strings.Contains(stderr, "upstream") || strings.Contains(stderr, "msg=ready") {
		t.Errorf("without an upstream: %d %q", code, stderr)
	}
}

func TestPolicyCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", "tiers:\n  gold: {windows: [{limit: 5, per: 2s}], concurrent: 1}\n")
	if code, out, _ := command(t, "", "policy", "check", good); code != 0 || !strings.Contains(out, "gold (default)  5 per 2s") {
		t.Errorf("%d %s", code, out)
	}
	for name, want := range map[string]string{
		"tiers:\n  gold: {windows: [{limit: 5}], color: red}\n":                                                       "line 2",
		"tiers:\n  gold: {windows: [{limit: -3, per: 1m}]}\n":                                                         "line 2: tiers.gold.windows[0].limit",
		"tiers:\n  gold: {windows: [{limit: 5}]}\n  iron: {windows: [{limit: 5}]}\n  gold: {windows: [{limit: 5}]}\n": "line 4",
	} {
		path := write("bad.yaml", name)
		if code, _, stderr := command(t, "", "policy", "check", path); code != exitFailed || !strings.Contains(stderr, want) || !strings.Contains(stderr, path) {
			t.Errorf("%s: %d %s, want %s", name, code, stderr, want)
		}
		if code, _, stderr := command(t, "", "serve", "--grpc", "127.0.0.1:0", "--policy", path); code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("serve with %s: %d %s, want %s", name, code, stderr, want)
		}
	}
	_, hash, _ := command(t, "sk_live_x\n", "policy", "hash")
	listed := write("listed.yaml", "tiers:\n  gold: {windows: [{limit: 5}]}\nkeys:\n  - {sha256: "+strings.TrimSpace(hash)+"}\n")
	if code, out, _ := command(t, "", "policy", "check", listed, "-o", "json"); code != 0 || !strings.Contains(out, `"keys": 1`) {
		t.Errorf("%d %s", code, out)
	}
}

// Flags can be given in the environment; the command line counts more.
func TestFlagsFromTheEnvironment(t *testing.T) {
	t.Setenv("SLUICE_MAX_KEYS", "many")
	if code, _, stderr := command(t, "", "serve", "--grpc", "127.0.0.1:0"); code != exitFailed || !strings.Contains(stderr, "SLUICE_MAX_KEYS") {
		t.Errorf("%d %s", code, stderr)
	}
	t.Setenv("SLUICE_WHEN_FULL", "sideways")
	if code, _, stderr := command(t, "", "serve", "--grpc", "127.0.0.1:0", "--max-keys", "5"); code != exitFailed || !strings.Contains(stderr, "sideways") {
		t.Errorf("%d %s", code, stderr)
	}
}

// Every command says what it is for, and shows an example.
func TestHelp(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		code, out, _ := command(t, "", cmd.Name(), "--help")
		if code != 0 || cmd.Short == "" || !cmd.HasSubCommands() && cmd.Name() != "help" && cmd.Name() != "completion" && !strings.Contains(out, "Examples:") {
			t.Errorf("%s: %d\n%s", cmd.Name(), code, out)
		}
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := command(t, "", "version", "-o", "json")
	var v versionJSON
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Version == "" || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("%d %s", code, out)
	}
}

// Exit codes tell a denial from a failure.
func TestCheckFails(t *testing.T) {
	if code, _, stderr := command(t, "", "check", "--addr", "127.0.0.1:1", "--key", "k", "--timeout", "50ms"); code != exitFailed || stderr == "" {
		t.Errorf("without a node: %d %q", code, stderr)
	}
	if code, _, stderr := command(t, "", "check", "--key", "k", "-o", "xml"); code != exitFailed || !strings.Contains(stderr, "xml") {
		t.Errorf("%d %q", code, stderr)
	}
	d := startDemo(t)
	if code, _, stderr := command(t, "", "check", "--addr", d.node); code != exitFailed || !strings.Contains(stderr, "/key") {
		t.Errorf("without a key: %d %q", code, stderr)
	}
	if code, out, _ := command(t, "", "check", "--addr", d.node, "--key", "sk_live_demo_suspended"); code != exitDenied || !strings.Contains(out, "key suspended") {
		t.Errorf("suspended: %d %q", code, out)
	}
}
