package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 7

// small is a policy whose default tier allows three requests a minute and one run.
const small = `
tiers:
  small: {windows: [{limit: 3, per: 1m}], concurrent: 1}
  two: {windows: [{limit: 5, per: 1s}, {limit: 8, per: 10s}], concurrent: 2}
  none: {windows: [{limit: 3, per: 1m}], concurrent: 0}
default_tier: small
`

// handClock is a clock that the test sets.
type handClock struct {
	mu     sync.Mutex
	now    limiter.Instant
	before func() // if set, called before the clock is read
}

// start is what the wall clock says when handClock is 0: not on a whole second.
var start = time.Unix(1_700_000_000, 250_000_000)

func (c *handClock) read() (limiter.Instant, time.Time) {
	c.mu.Lock()
	before, now := c.before, c.now
	c.mu.Unlock()
	if before != nil {
		before()
	}
	return now, start.Add(time.Duration(now))
}

func (c *handClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hold lets whoever reads the clock next wait until release is called. held is closed
// when somebody does.
func (c *handClock) hold() (held <-chan struct{}, release func()) {
	h, r := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = func() {
		once.Do(func() { close(h) })
		<-r
	}
	return h, sync.OnceFunc(func() { close(r) })
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rig is a server on loopback and a client of it.
type rig struct {
	sluicev1.RateLimiterServiceClient
	conn   *grpc.ClientConn
	server *Server
	table  *limiter.Table
	clock  *handClock
	log    *logBuffer
}

func parsePolicy(t testing.TB, file string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testSecrets(t testing.TB, secret string) limiter.Secrets {
	t.Helper()
	s, err := limiter.NewSecrets([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newConfig returns a Config whose clock stands still, and the rig that it belongs to.
func newConfig(t testing.TB, file string, table limiter.Config) (Config, *rig) {
	t.Helper()
	r := &rig{clock: &handClock{}, log: &logBuffer{}}
	table.Partitions = partitions
	var err error
	if r.table, err = limiter.NewTable(table); err != nil {
		t.Fatal(err)
	}
	secrets := testSecrets(t, "the secret of the cluster")
	return Config{
		Table: r.table, Hasher: limiter.NewHasher(secrets, partitions), Sealer: limiter.NewSealer(secrets, partitions),
		Policy: parsePolicy(t, file), Clock: r.clock.read,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, r
}

func serve(t testing.TB, file string) *rig {
	t.Helper()
	return serveTable(t, file, limiter.Config{MaxKeys: 1000})
}

func serveTable(t testing.TB, file string, table limiter.Config) *rig {
	t.Helper()
	c, r := newConfig(t, file, table)
	r.serve(t, c)
	return r
}

func (r *rig) serve(t testing.TB, c Config) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.server = NewServer(c)
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(lis) }()
	r.conn, err = grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.RateLimiterServiceClient = sluicev1.NewRateLimiterServiceClient(r.conn)
	t.Cleanup(func() {
		_ = r.conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// bareCodec passes bytes through as they are.
type bareCodec struct{}

func (bareCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (bareCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (bareCodec) Name() string { return "proto" }

// send calls a method with a message of these bytes.
func (r *rig) send(t testing.TB, method string, b []byte, opts ...grpc.CallOption) ([]byte, error) {
	var out []byte
	err := r.conn.Invoke(t.Context(), "/sluice.v1.RateLimiterService/"+method, b, &out, append(opts, grpc.ForceCodecV2(bareCodec{}))...)
	return out, err
}

func wire(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check asks for one decision, which must not fail.
func (r *rig) check(t testing.TB, req *sluicev1.CheckRequest) *sluicev1.Decision {
	t.Helper()
	resp, err := r.Check(t.Context(), req)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return resp.GetDecision()
}

// untouched requires that nothing was ever counted, and that the node answers.
func (r *rig) untouched(t testing.TB) {
	t.Helper()
	if n := r.table.Keys(); n != 0 {
		t.Errorf("the table holds %d keys, want none", n)
	}
	if d := r.check(t, &sluicev1.CheckRequest{Key: "k", Cost: proto.Uint32(0)}); !d.GetAllowed() || d.GetRemaining() != d.GetLimit() {
		t.Errorf("a peek says %v, want all of the limit", d)
	}
}

// fault is an error as a client is to see it.
type fault struct {
	code    codes.Code
	reason  string // of the ErrorInfo
	pointer string // that the message begins with; "" if no field is at fault
	path    string // of the field violation
}

func missing(pointer, path string) fault {
	return fault{codes.InvalidArgument, "INVALID_REQUEST", pointer, path}
}

func tooLarge(pointer, path string) fault {
	return fault{codes.InvalidArgument, "VALIDATION_ERROR", pointer, path}
}

var (
	notFound = fault{code: codes.NotFound, reason: "NOT_FOUND"}
	gone     = fault{code: codes.FailedPrecondition, reason: "GONE"}
	conflict = fault{code: codes.AlreadyExists, reason: "CONFLICT"}
	notNow   = fault{code: codes.Unavailable, reason: "SERVICE_UNAVAILABLE"}
)

// check holds err against the fault, with all the details that it must have, and no others.
func (want fault) check(t testing.TB, err error) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != want.code {
		t.Errorf("code %v, want %v (%v)", st.Code(), want.code, err)
	}
	if want.pointer != "" && !strings.HasPrefix(st.Message(), want.pointer+": ") {
		t.Errorf("message %q, want it to begin with %q", st.Message(), want.pointer+": ")
	}
	var infos, faults, retries int
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			infos++
			if d.GetReason() != want.reason || d.GetDomain() != "sluice" {
				t.Errorf("ErrorInfo %v, want reason %s", d, want.reason)
			}
		case *errdetails.BadRequest:
			faults++
			if v := d.GetFieldViolations(); len(v) != 1 || v[0].GetField() != want.path || v[0].GetDescription() == "" {
				t.Errorf("BadRequest %v, want one violation of %q", d, want.path)
			}
		case *errdetails.RetryInfo:
			retries++
			if delay := d.GetRetryDelay().AsDuration(); delay < 0 || delay > time.Second {
				t.Errorf("RetryInfo of %v, want 0 to 1 s", delay)
			}
		default:
			t.Errorf("a detail %T: %v", d, d)
		}
	}
	if infos != 1 {
		t.Errorf("%d ErrorInfo, want one", infos)
	}
	if want := count(want.pointer != ""); faults != want {
		t.Errorf("%d BadRequest, want %d", faults, want)
	}
	if want := count(want.code == codes.Unavailable); retries != want {
		t.Errorf("%d RetryInfo, want %d", retries, want)
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
