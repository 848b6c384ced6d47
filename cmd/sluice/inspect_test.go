package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
)

// busy is a key with history and leases, as its holder tells it.
func busy() *operated {
	const now = limiter.Instant(1000 * time.Second)
	before := func(d time.Duration) limiter.Instant { return now.Add(-d) }
	return &operated{found: true, key: peer.KeyStatus{
		Node: "node-b", Partition: 417, Generation: "5.node-b.2", Copies: []string{"node-c"}, Permitted: true, Exactness: limiter.Exact, Found: true,
		State: limiter.KeyState{
			History: []limiter.Entry{
				{At: before(70 * time.Second), Units: 3},
				{At: before(58 * time.Second), Units: 1},
				{At: before(31 * time.Second), Units: 8},
				{At: before(29 * time.Second), Units: 20},
				{At: before(12 * time.Second), Units: 5},
				{At: before(300 * time.Millisecond), Units: 2},
			},
			Horizon: 2 * time.Minute, Tombstones: 1,
			Leases: []limiter.Lease{
				{RunID: "run_8", TaskID: "task \x1b[2J", RequestID: "req-9", Tier: "pro", Acquired: before(90 * time.Second), Expiry: before(-12*time.Second - 345*time.Millisecond)},
				{RunID: "run_9", RequestID: "req-10", Tier: "pro", Acquired: before(1200 * time.Millisecond), Expiry: before(-28 * time.Second)},
			},
		},
		Age: now.Sub,
	}}
}

func TestInspectKey(t *testing.T) {
	addr := busy().serve(t)
	code, out, stderr := command(t, "", "inspect", "--admin", addr, "--key", operatedKey, "--tier", "pro")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	golden(t, "inspect_busy.txt", out)
	if strings.Contains(out, "\x1b") {
		t.Error("a task_id reached the terminal as it is")
	}
	code, out, _ = command(t, "", "inspect", "--admin", addr, "--key", operatedKey, "--tier", "pro", "-o", "json")
	if code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("exit code %d", code)
	}
	golden(t, "inspect_busy.json", out)
	if strings.Contains(out, operatedKey) {
		t.Error("the answer has the key")
	}
}

// A key of which nothing is known, and a holder that may not decide just now.
func TestInspectIdleKey(t *testing.T) {
	o := &operated{key: peer.KeyStatus{Node: "node-b", Partition: 417, Generation: "5.node-b.2", Age: limiter.Instant(0).Sub}}
	code, out, _ := command(t, "", "inspect", "--admin", o.serve(t), "--key", operatedKey)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	golden(t, "inspect_idle.txt", out)
}

// The key on standard input does the same as the one on the command line.
func TestInspectReadsTheKey(t *testing.T) {
	addr := busy().serve(t)
	_, want, _ := command(t, "", "inspect", "--admin", addr, "--key", operatedKey)
	for _, in := range []string{operatedKey, operatedKey + "\n", operatedKey + "\r\n"} {
		if code, out, stderr := command(t, in, "inspect", "--admin", addr, "--key", "-"); code != 0 || out != want {
			t.Errorf("%q: %d %s\n%s", in, code, stderr, out)
		}
	}
	for _, in := range []string{"", "\n", strings.Repeat("k", limiter.MaxKeyLen+1)} {
		if code, _, stderr := command(t, in, "inspect", "--admin", addr, "--key", "-"); code != exitFailed || !strings.Contains(stderr, "1 to 256 bytes") {
			t.Errorf("%d bytes: %d %q", len(in), code, stderr)
		}
	}
}

func TestInspectReset(t *testing.T) {
	o := busy()
	addr := o.serve(t)
	code, out, _ := command(t, "", "inspect", "--admin", addr, "--key", operatedKey, "--reset")
	if code != 0 || !strings.HasSuffix(out, "\nreset: what was admitted is forgotten\n") || o.resets.Load() != 1 {
		t.Errorf("%d, %d resets\n%s", code, o.resets.Load(), out)
	}
	o = busy()
	o.found = false
	code, out, _ = command(t, "", "inspect", "--admin", o.serve(t), "--key", operatedKey, "--reset", "-o", "json")
	var k keyJSON
	if err := json.Unmarshal([]byte(out), &k); err != nil || code != 0 || k.Reset == nil || *k.Reset {
		t.Errorf("%d %v\n%s", code, err, out)
	}
	o = busy()
	if code, out, _ := command(t, "", "inspect", "--admin", o.serve(t), "--key", operatedKey, "-o", "json"); code != 0 || o.resets.Load() != 0 || strings.Contains(out, `"reset":`) {
		t.Errorf("without --reset: %d, %d resets", code, o.resets.Load())
	}
}

// A key that the directory refuses is said to be denied whatever it has left.
func TestInspectSuspendedKey(t *testing.T) {
	o := busy()
	addr := o.serve(t)
	o.wanted = o.hasher.Key("sk_suspended")
	code, out, _ := command(t, "", "inspect", "--admin", addr, "--key", "sk_suspended")
	if code != 0 || !strings.Contains(out, "pro, but the key is suspended: all its requests are denied") {
		t.Errorf("%d\n%s", code, out)
	}
}

// A key that must be known and is not: what it has is shown without a tier.
func TestInspectUnknownKey(t *testing.T) {
	o := busy()
	o.policy = "tiers: {pro: {windows: [{limit: 60, per: 1m}]}}\nrequire_known_keys: true\n"
	code, out, _ := command(t, "", "inspect", "--admin", o.serve(t), "--key", operatedKey)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	golden(t, "inspect_unknown.txt", out)
}

// What failed says why, and not which key.
func TestInspectFails(t *testing.T) {
	addr := busy().serve(t)
	for _, c := range []struct{ key, tier, want string }{
		{"", "", "/key: is required"},
		{operatedKey, "platinum", "/tier: no such tier"},
		{"sk_live_other", "", "nobody holds the partition"},
	} {
		code, out, stderr := command(t, "", "inspect", "--admin", addr, "--key", c.key, "--tier", c.tier)
		if code != exitFailed || out != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "sk_live") {
			t.Errorf("%v: %d %q %q", c, code, out, stderr)
		}
	}
}

// Numbers from a history that is longer than the answer say so.
func TestInspectALongHistory(t *testing.T) {
	o := busy()
	o.key.State.History = nil
	for range limiter.MaxInspected {
		o.key.State.History = append(o.key.State.History, limiter.Entry{At: limiter.Instant(1000 * time.Second), Units: 1})
	}
	code, out, _ := command(t, "", "inspect", "--admin", o.serve(t), "--key", operatedKey, "--tier", "pro")
	for _, want := range []string{"at least 1000  at most 0 ", "at most 1m0s", "of the newest 1000 entries"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, without %q\n%s", code, want, out)
		}
	}
}
