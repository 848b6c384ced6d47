package rpc

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// textField is a string field of those bytes, which may be none of a string.
func textField(n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
}

func with(key, rest []byte) []byte { return append(append([]byte(nil), key...), rest...) }

// twoChecks is a batch whose second check has those bytes.
func twoChecks(second []byte) []byte {
	return with(textField(1, string(textField(1, "k"))), textField(1, string(second)))
}

// badInputs are requests that cannot be decided. The key k is right in all of them.
func badInputs(t testing.TB) []badInput {
	k, run := textField(1, "k"), textField(3, "r")
	longKey, longID := strings.Repeat("k", 257), strings.Repeat("r", 257)
	acquire := func(change func(*sluicev1.AcquireRequest)) []byte {
		req := &sluicev1.AcquireRequest{Key: "k", RunId: "r", TtlMs: 30_000}
		change(req)
		return wire(t, req)
	}
	check := func(req *sluicev1.CheckRequest) []byte { return wire(t, req) }
	ttl := func(ms uint32) []byte { return acquire(func(r *sluicev1.AcquireRequest) { r.TtlMs = ms }) }
	return []badInput{
		{"no bytes", "Check", nil, missing("/key", "key")},
		{"empty key", "Check", textField(1, ""), missing("/key", "key")},
		{"long key", "Check", textField(1, longKey), tooLarge("/key", "key")},
		{"key not UTF-8", "Check", textField(1, "k\xff"), missing("/key", "key")},
		{"tier not UTF-8", "Check", with(k, textField(2, "\xc3")), missing("/tier", "tier")},
		{"unknown tier", "Check", check(&sluicev1.CheckRequest{Key: "k", Tier: "gold"}), missing("/tier", "tier")},
		{"cost", "Check", check(&sluicev1.CheckRequest{Key: "k", Cost: proto.Uint32(1_000_000_001)}), tooLarge("/cost", "cost")},
		{"garbage", "Check", []byte("\xff\xff\xff\xff\xff"), missing("/", "")},
		{"garbage after a key", "Check", with(k, []byte{0xff}), missing("/", "")},
		{"field number 0", "Check", with(k, []byte{0x00, 0x00}), missing("/", "")},
		{"key cut off", "Check", []byte("\x0a\x05k"), missing("/key", "key")},
		{"cost cut off", "Check", with(k, []byte("\x18\xff")), missing("/cost", "cost")},

		{"garbage", "CheckBatch", []byte("\xff\xff"), missing("/", "")},
		{"nested key not UTF-8", "CheckBatch", twoChecks(textField(1, "\xff")), missing("/checks/1/key", "checks[1].key")},
		{"nested key cut off", "CheckBatch", twoChecks([]byte("\x0a\x05k")), missing("/checks/1/key", "checks[1].key")},
		{"nested garbage", "CheckBatch", twoChecks([]byte("\xff\xff")), missing("/checks/1", "checks[1]")},
		{"100,001 checks", "CheckBatch", []byte(strings.Repeat("\x0a\x00", 100_001)), tooLarge("/checks", "checks")},

		{"no key", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.Key = "" }), missing("/key", "key")},
		{"long key", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.Key = longKey }), tooLarge("/key", "key")},
		{"unknown tier", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.Tier = "gold" }), missing("/tier", "tier")},
		{"no run_id", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.RunId = "" }), missing("/run_id", "run_id")},
		{"long run_id", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.RunId = longID }), tooLarge("/run_id", "run_id")},
		{"run_id not UTF-8", "Acquire", with(k, textField(3, "\xfe")), missing("/run_id", "run_id")},
		{"long task_id", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.TaskId = longID }), tooLarge("/task_id", "task_id")},
		{"task_id not UTF-8", "Acquire", with(with(k, run), textField(4, "\xfe")), missing("/task_id", "task_id")},
		{"ttl absent", "Acquire", ttl(0), tooLarge("/ttl_ms", "ttl_ms")},
		{"ttl below 1 s", "Acquire", ttl(999), tooLarge("/ttl_ms", "ttl_ms")},
		{"ttl above 10 min", "Acquire", ttl(600_001), tooLarge("/ttl_ms", "ttl_ms")},
		{"ttl 1 h", "Acquire", ttl(3_600_000), tooLarge("/ttl_ms", "ttl_ms")},
		{"request_cost", "Acquire", acquire(func(r *sluicev1.AcquireRequest) { r.RequestCost = proto.Uint32(1_000_000_001) }), tooLarge("/request_cost", "request_cost")},
		{"garbage", "Acquire", []byte("\xff"), missing("/", "")},

		{"10,001 renewals", "Renew", []byte(strings.Repeat("\x0a\x00", 10_001)), tooLarge("/leases", "leases")},
		{"lease_id not UTF-8", "Renew", textField(1, string(textField(1, "\xff"))), missing("/leases/0/lease_id", "leases[0].lease_id")},
		{"no lease_id", "Release", nil, missing("/lease_id", "lease_id")},
		{"lease_id not UTF-8", "Release", textField(1, "\xff"), missing("/lease_id", "lease_id")},
		{"a lease_id of nothing", "Release", textField(1, "x"), notFound},
		{"a lease_id of 1 MB", "Release", textField(1, strings.Repeat("x", 1<<20)), notFound},
	}
}

type badInput struct {
	name, method string
	bytes        []byte
	want         fault
}

func TestBadInput(t *testing.T) {
	r := serve(t, small)
	for _, in := range badInputs(t) {
		t.Run(in.method+" "+in.name, func(t *testing.T) {
			_, err := r.send(t, in.method, in.bytes)
			in.want.check(t, err)
			r.untouched(t)
		})
	}
}

// TestBadStream sends the same to a stream: what is wrong with a batch ends it.
func TestBadStream(t *testing.T) {
	r := serve(t, small)
	list := func(checks []byte) []byte { // from field 1 to field 3
		return []byte(strings.ReplaceAll(string(checks), "\x0a\x03\x0a", "\x1a\x03\x0a"))
	}
	for name, in := range map[string]badInput{
		"garbage":        {bytes: []byte("\xff"), want: missing("/", "")},
		"key not UTF-8":  {bytes: list(twoChecks(textField(1, "\xff"))), want: missing("/checks/1/key", "checks[1].key")},
		"timeout_ms":     {bytes: wire(t, &sluicev1.CheckStreamRequest{TimeoutMs: 600_001}), want: tooLarge("/timeout_ms", "timeout_ms")},
		"100,001 checks": {bytes: []byte(strings.Repeat("\x1a\x00", 100_001)), want: tooLarge("/checks", "checks")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.send(t, "CheckStream", in.bytes)
			in.want.check(t, err)
			r.untouched(t)
		})
	}
}

func TestMessageTooLarge(t *testing.T) {
	r := serve(t, small)
	req := &sluicev1.CheckBatchRequest{}
	for range 40_000 {
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: strings.Repeat("k", 256)})
	}
	if size := proto.Size(req); size < 10_000_000 {
		t.Fatalf("the message has %d bytes only", size)
	}
	if _, err := r.CheckBatch(t.Context(), req); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, want ResourceExhausted", err)
	}
	r.untouched(t)
}

// TestForgedLease holds that a lease id of another cluster, or with any bit changed, or of
// another length, is not found, and ends nothing.
func TestForgedLease(t *testing.T) {
	r := serve(t, small)
	id := r.acquire(t, &sluicev1.AcquireRequest{Key: "k", RunId: "r", TtlMs: 30_000}).GetLeaseId()
	ref, ok := r.server.service.sealer.Open(id)
	if !ok {
		t.Fatalf("the node does not know its own lease id %q", id)
	}
	forged := []string{
		limiter.NewSealer(testSecrets(t, "the secret of others"), partitions).Seal(ref),
		id[1:], id[:len(id)-1], id + "A", id + id, "=" + id[1:], id[:len(id)-1] + "=", strings.Repeat("A", len(id)),
	}
	for i := range len(id) {
		for bit := range 7 { // the eighth makes it no UTF-8
			b := []byte(id)
			b[i] ^= 1 << bit
			forged = append(forged, string(b))
		}
	}
	for _, f := range forged {
		_, err := r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: f})
		if notFound.check(t, err); t.Failed() {
			t.Fatalf("released %q for %q", f, id)
		}
	}
	req := &sluicev1.RenewRequest{}
	for _, f := range forged {
		req.Leases = append(req.Leases, &sluicev1.LeaseRenewal{LeaseId: f, TtlMs: 1000})
	}
	resp, err := r.Renew(t.Context(), req)
	if err != nil || len(resp.GetResults()) != len(forged) {
		t.Fatalf("%d results, %v; want %d", len(resp.GetResults()), err, len(forged))
	}
	for _, result := range resp.GetResults() {
		notFound.check(t, status.FromProto(result.GetError()).Err())
	}
	if released, err := r.Release(t.Context(), &sluicev1.ReleaseRequest{LeaseId: id}); err != nil || !released.GetReleased() {
		t.Errorf("the lease itself: %v, %v; want it released only now", released, err)
	}
}

// TestNoKeyInErrors holds that no error and no log line tells a key.
func TestNoKeyInErrors(t *testing.T) {
	r := serve(t, small)
	const key = "sk_live_that_nobody_may_see"
	for i, b := range [][]byte{
		textField(1, strings.Repeat(key, 10)),
		textField(1, key+"\xff"),
		with(textField(1, key), textField(2, "gold")),
		with(textField(1, key), []byte{0xff}),
		with(textField(1, "k"), textField(2, key)),
		textField(99, key),
	} {
		_, err := r.send(t, "Check", b)
		if err == nil || strings.Contains(fmt.Sprint(err, status.Convert(err).Details()), "sk_live") {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "call failed") || strings.Contains(log, "sk_live") {
		t.Errorf("the log is %s", log)
	}
}
