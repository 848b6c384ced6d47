package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/secure/pkitest"
)

const withoutDirectory = `
tiers:
  free: {windows: [{limit: 3, per: 1m}], concurrent: 2}
  pro: {windows: [{limit: 60, per: 1m}], concurrent: 10}
default_tier: free
`

var withDirectory = withoutDirectory + `
keys:
  - {sha256: "` + policy.HashKey("a key that nobody uses") + `", tier: pro, status: active}
`

// TestNoKeyInMemory sends a node keys in every way that there is, reads all of its memory
// when it is idle, and requires that no 16 bytes of a key are left, nor in its log.
//
// Not tried is what grpc drops before anybody reads it: see package rpc.
func TestNoKeyInMemory(t *testing.T) {
	for name, file := range map[string]string{"directory": withDirectory, "no directory": withoutDirectory, "over TLS": withDirectory} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			creds, env := insecure.NewCredentials(), []string(nil)
			if name == "over TLS" {
				authority := pkitest.New(t, "ours")
				pair := authority.Issue("node.test")
				creds, env = credentials.NewTLS(authority.Client(nil)), []string{asTLS + "=" + pair.Cert + "," + pair.Key}
			}
			node := startNode(t, path, &log, env...)
			k := &traffic{t: t, texts: make(map[string]string)}
			conns := make([]*grpc.ClientConn, 3)
			for i := range conns {
				var err error
				if conns[i], err = grpc.NewClient(node.addr, grpc.WithTransportCredentials(creds)); err != nil {
					t.Fatal(err)
				}
				defer conns[i].Close()
				k.conn, k.RateLimiterServiceClient = conns[i], sluicev1.NewRateLimiterServiceClient(conns[i])
				k.drive()
			}
			conns[0].Close()

			// What the node holds on purpose is found, so the scan can find things.
			held := rand.Text() + rand.Text()
			k.acquire(&sluicev1.AcquireRequest{Key: k.key("held"), RunId: held, TtlMs: 600_000})
			k.texts["run_id"] = held
			pieces, size := newScanner(k.texts).process(t, node.pid)
			if pieces["run_id"] != held {
				t.Errorf("the run_id of a live lease was not found in %d bytes: %q", size, pieces["run_id"])
			}
			delete(pieces, "run_id")
			for name, piece := range pieces {
				t.Errorf("in memory, from %s: %q", name, piece)
			}

			if err := node.stop(); err != nil {
				t.Errorf("the node ended with %v", err)
			}
			if !strings.Contains(log.String(), "call failed") {
				t.Errorf("the log is not at debug level: %s", log.String())
			}
			logged := make(map[string]string)
			if newScanner(k.texts).scan(log.Bytes(), logged); len(logged) > 0 {
				t.Errorf("in the log: %q", logged)
			}
		})
	}
}

// traffic is what callers send to a node.
type traffic struct {
	t *testing.T
	sluicev1.RateLimiterServiceClient
	conn *grpc.ClientConn

	mu    sync.Mutex
	texts map[string]string // the keys, by a name that tells where each was sent
}

// key returns a key that was never used.
func (k *traffic) key(name string) string {
	key := "sk_live_" + rand.Text() + rand.Text()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.texts[fmt.Sprintf("%s (%d)", name, len(k.texts))] = strings.TrimPrefix(key, "sk_live_")
	return key
}

func (k *traffic) checks(name string, n int) []*sluicev1.CheckRequest {
	checks := make([]*sluicev1.CheckRequest, n)
	for i := range checks {
		checks[i] = &sluicev1.CheckRequest{Key: k.key(name)}
	}
	return checks
}

// drive sends keys in all ways.
func (k *traffic) drive() {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				k.want(codes.OK, k.check(&sluicev1.CheckRequest{Key: k.key("check")}))
			}
		})
	}
	wg.Wait()
	denied := k.key("denied")
	for range 5 {
		k.want(codes.OK, k.check(&sluicev1.CheckRequest{Key: denied}))
	}
	k.want(codes.OK, k.check(&sluicev1.CheckRequest{Key: k.key("explained"), Tier: "pro", Explain: true}))
	k.want(codes.OK, k.check(&sluicev1.CheckRequest{Key: k.key("peek"), Cost: proto.Uint32(0)}))
	k.want(codes.InvalidArgument, k.check(&sluicev1.CheckRequest{Key: k.key("unknown tier"), Tier: "gold"}))
	k.want(codes.InvalidArgument, k.check(&sluicev1.CheckRequest{Key: k.key("bad cost"), Cost: proto.Uint32(1 << 31)}))
	k.want(codes.InvalidArgument, k.check(&sluicev1.CheckRequest{Key: "k", Tier: k.key("as tier")}))
	k.want(codes.InvalidArgument, k.check(&sluicev1.CheckRequest{Key: k.key("too long") + strings.Repeat("x", 256)}))
	k.malformed()
	k.batches()
	k.stream()
	for i := range 3 {
		req := &sluicev1.AcquireRequest{Key: k.key("acquire"), RunId: fmt.Sprint("r", i), TtlMs: 600_000, RequestCost: proto.Uint32(1)}
		k.want(codes.OK, k.acquire(req))
		k.want(codes.OK, k.acquire(req))
		req.TaskId = "another"
		k.want(codes.AlreadyExists, k.acquire(req))
	}
	k.want(codes.InvalidArgument, k.acquire(&sluicev1.AcquireRequest{Key: k.key("no run"), TtlMs: 1000}))
	k.want(codes.InvalidArgument, k.acquire(&sluicev1.AcquireRequest{Key: k.key("bad ttl"), RunId: "r"}))
}

// malformed sends keys in requests that do not parse, or are not what they should be.
func (k *traffic) malformed() {
	field := func(tag, s string) string { return tag + string(rune(len(s))) + s } // short ones only
	good := func(name string) string { return field("\x0a", k.key(name)) }
	for _, b := range []string{
		good("beside invalid UTF-8") + "\x12\x01\xff",
		field("\x0a", k.key("key with invalid UTF-8")+"\xff"),
		good("before garbage") + "\xff\xff",
		good("cut off")[:50],
	} {
		k.want(codes.InvalidArgument, k.send("Check", b))
	}
	k.want(codes.OK, k.send("Check", good("given twice")+good("given twice")))
	k.want(codes.OK, k.send("Check", good("beside an unknown field")+field("\x9a\x06", k.key("unknown field"))))
	batch := strings.Repeat(field("\x0a", good("batch with invalid UTF-8")), 20)
	k.want(codes.InvalidArgument, k.send("CheckBatch", batch+"\x0a\x03\x12\x01\xff"))
}

func (k *traffic) batches() {
	for _, n := range []int{1, 100, 100, 1000} { // the last has more bytes than a frame
		req := &sluicev1.CheckBatchRequest{Checks: k.checks("batch", n)}
		req.Checks = append(req.Checks, &sluicev1.CheckRequest{Key: k.key("batch"), Tier: "gold"})
		resp, err := k.CheckBatch(k.t.Context(), req)
		k.want(codes.OK, err)
		if len(resp.GetResults()) != n+1 {
			k.t.Errorf("%d results of %d", len(resp.GetResults()), n+1)
		}
	}
}

func (k *traffic) stream() {
	for _, timeout := range []uint32{0, 1 << 31} {
		s, err := k.CheckStream(k.t.Context())
		k.want(codes.OK, err)
		for i := range uint64(5) {
			if i == 4 {
				timeout *= 2 // 1<<31 becomes 0
			}
			_ = s.Send(&sluicev1.CheckStreamRequest{Sequence: i, TimeoutMs: timeout, Checks: k.checks("stream", 30)})
			if _, err = s.Recv(); err != nil {
				break
			}
		}
		if timeout == 0 {
			k.want(codes.OK, err)
			_ = s.CloseSend()
			_, _ = s.Recv()
		} else {
			k.want(codes.InvalidArgument, err)
		}
	}
}

func (k *traffic) want(code codes.Code, err error) {
	k.t.Helper()
	if status.Code(err) != code {
		k.t.Errorf("%v, want %v", err, code)
	}
}

func (k *traffic) check(req *sluicev1.CheckRequest) error {
	_, err := k.Check(k.t.Context(), req)
	return err
}

func (k *traffic) acquire(req *sluicev1.AcquireRequest) error {
	_, err := k.Acquire(k.t.Context(), req)
	return err
}

// send calls a method with a message of these bytes.
func (k *traffic) send(method, b string) error {
	var out []byte
	return k.conn.Invoke(context.WithoutCancel(k.t.Context()), "/sluice.v1.RateLimiterService/"+method, []byte(b), &out, grpc.ForceCodecV2(bareCodec{}))
}

// bareCodec passes bytes through as they are.
type bareCodec struct{}

func (bareCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(slices.Clone(v.([]byte)))}, nil
}

func (bareCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (bareCodec) Name() string { return "proto" }
