package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/peer"
)

// node is a member that is well: the i-th of three.
func node(i int) member {
	names := []string{"node-a", "node-b", "node-c"}
	held := []int{341, 340, 340}
	return member{NodeStatus: peer.NodeStatus{
		Name: names[i], Boot: uint64(i) + 1, Version: "v0.3.0", State: peer.Serving,
		GRPC: "10.0.0." + string(rune('1'+i)) + ":7070", Peer: "10.0.0." + string(rune('1'+i)) + ":7071", Admin: "10.0.0." + string(rune('1'+i)) + ":7090",
		Uptime: []time.Duration{76*time.Hour + time.Minute, 2*time.Hour + 5*time.Minute, 42 * time.Second}[i],
		View:   0x8f21c0de7a11b2c3, Members: 3, Policy: "00c0ffee11223344", Keys: 12_345 * (i + 1),
		Owned: held[i], Held: held[i], Copies: 340, CopyLag: time.Duration(i) * 1500 * time.Microsecond,
	}}
}

func three() *operated { return &operated{members: []member{node(2), node(0), node(1)}} }

func TestStatusHealthy(t *testing.T) {
	addr := three().serve(t)
	code, out, stderr := command(t, "", "status", "--admin", addr)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	golden(t, "status_healthy.txt", out)
	code, out, _ = command(t, "", "status", "--admin", addr, "-o", "json")
	if code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("exit code %d", code)
	}
	golden(t, "status_healthy.json", out)
}

// A lone node is well without copies: there is nobody to have them.
func TestStatusAlone(t *testing.T) {
	alone := node(0)
	alone.Members, alone.Owned, alone.Held, alone.Uncopied, alone.Copies = 1, 1021, 1021, 1021, 0
	code, out, _ := command(t, "", "status", "--admin", (&operated{members: []member{alone}}).serve(t))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	golden(t, "status_alone.txt", out)
}

// All that can be amiss is said, and one thing is enough for the exit code.
func TestStatusNotHealthy(t *testing.T) {
	o := three()
	for i := range o.members {
		switch m := &o.members[i]; m.Name {
		case "node-a":
			m.State, m.Held, m.Uncopied, m.Unsent = peer.Draining, 200, 7, 1
		case "node-b":
			m.View, m.Policy, m.Waiting = 0x1122aabb00000000, "deadbeef00000000", 12
		case "node-c":
			*m = member{NodeStatus: peer.NodeStatus{Name: "node-c", GRPC: "10.0.0.3:7070"}, err: errors.New("connection refused")}
		}
	}
	addr := o.serve(t)
	code, out, _ := command(t, "", "status", "--admin", addr)
	if code != exitUnhealthy {
		t.Errorf("exit code %d, want %d", code, exitUnhealthy)
	}
	golden(t, "status_unhealthy.txt", out)

	for name, spoil := range map[string]func(*peer.NodeStatus){
		"2 partitions are held by nobody": func(m *peer.NodeStatus) { m.Held -= 2 },
		"1 partition is held twice":       func(m *peer.NodeStatus) { m.Held++ },
		"node-a is refusing":              func(m *peer.NodeStatus) { m.State = peer.Refusing },
		"members go by different views: none (node-a), 8f21c0de (node-b, node": func(m *peer.NodeStatus) { m.View = 0 },
		"node-a holds 1 partition without a copy":                              func(m *peer.NodeStatus) { m.Uncopied = 1 },
		"node-a has counts of 2 former holdings that nobody":                   func(m *peer.NodeStatus) { m.Unsent = 2 },
		"node-a is not permitted to decide for 3":                              func(m *peer.NodeStatus) { m.Waiting = 3 },
		"members have different policies: 11111111 (node-a), 00c0ffee (node-b": func(m *peer.NodeStatus) { m.Policy = "1111111122222222" },
	} {
		o := three()
		spoil(&o.members[1].NodeStatus)
		code, out, _ := command(t, "", "status", "--admin", o.serve(t), "-o", "json")
		var s statusJSON
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitUnhealthy || s.Healthy || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], name) {
			t.Errorf("%s: exit code %d, problems %q, %v", name, code, s.Problems, err)
		}
	}
}

// What cannot be asked is told from what is not well.
func TestStatusUnreachable(t *testing.T) {
	code, out, stderr := command(t, "", "status", "--admin", "127.0.0.1:1")
	if code != exitUnreachable || out != "" || !strings.Contains(stderr, "127.0.0.1:1 cannot be asked") || !strings.Contains(stderr, "refused") {
		t.Errorf("%d %q %q", code, out, stderr)
	}
	for flag, value := range map[string]string{"-o": "xml", "--admin-token-file": "/no/such/file", "--nonsense": "nonsense", "--timeout": "soon"} {
		if code, _, stderr := command(t, "", "status", flag, value); code != exitUnreachable || !strings.Contains(stderr, strings.TrimPrefix(value, "/")) {
			t.Errorf("%s %s: %d %q", flag, value, code, stderr)
		}
	}
	d := startDemo(t)
	code, _, stderr = command(t, "", "status", "--admin", d.node)
	if code != exitUnreachable || !strings.Contains(stderr, "not an operators' address") {
		t.Errorf("the gateways' port: %d %q", code, stderr)
	}
}

// watch runs `sluice status --watch` until the cluster is asked the given time, for which
// it is interrupted.
func (o *operated) watch(t *testing.T, times int64, output string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := o.onAsked
	o.onAsked = func(n int64) {
		if n == times {
			cancel()
		}
		if before != nil {
			before(n)
		}
	}
	var out, errOut bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&errOut)
	if code := run(ctx, root, []string{"status", "--watch", "--every", "1ms", "-o", output, "--admin", o.serve(t)}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	return out.String(), errOut.String()
}

// Watching goes on until it is interrupted. What fails once is told, and asked again.
func TestStatusWatch(t *testing.T) {
	out, stderr := three().watch(t, 3, "json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || lines[0] != lines[1] || !json.Valid([]byte(lines[0])) || stderr != "" {
		t.Errorf("want two lines that are the same:\n%s%s", out, stderr)
	}
	o := three()
	o.onAsked = func(n int64) {
		if n == 2 {
			panic("a bug")
		}
	}
	out, stderr = o.watch(t, 4, "text")
	if n := strings.Count(out, "healthy: 3 members"); n != 2 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("%d of 2 pages:\n%s%s", n, out, stderr)
	}
	if code, _, stderr := command(t, "", "status", "--watch", "--every", "0s"); code != exitFailed || !strings.Contains(stderr, "--every") {
		t.Errorf("%d %q", code, stderr)
	}
}
