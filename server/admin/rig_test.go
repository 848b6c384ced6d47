package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
	"github.com/overten/sluice/server/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 7

// tiers is a policy with two windows by default, and a key of each status; hashes are
// those of "suspended" and "revoked".
func tiers(t *testing.T) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(`
tiers:
  two: {windows: [{limit: 5, per: 1s}, {limit: 8, per: 10s}], concurrent: 2}
  one: {windows: [{limit: 3, per: 1m}], concurrent: 1}
default_tier: two
keys:
  - {sha256: "` + policy.HashKey("suspended") + `", tier: one, status: suspended}
  - {sha256: "` + policy.HashKey("revoked") + `", tier: one, status: revoked}
`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fakeCluster answers what the test wants and remembers what it was asked.
type fakeCluster struct {
	members func(context.Context) []member
	inspect func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error)
	leases  []peer.LeaseStatus
	found   bool
	err     error // of Leases and Reset

	mu    sync.Mutex
	asked []limiter.Key
	most  int
}

func (f *fakeCluster) note(k limiter.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, k)
}

// member is what Members tells of one.
type member struct {
	peer.NodeStatus
	err error
}

func (f *fakeCluster) Members(ctx context.Context) iter.Seq2[peer.NodeStatus, error] {
	return func(yield func(peer.NodeStatus, error) bool) {
		for _, m := range f.members(ctx) {
			if !yield(m.NodeStatus, m.err) {
				return
			}
		}
	}
}

func (f *fakeCluster) Inspect(_ context.Context, k limiter.Key, tier *limiter.Tier) (peer.KeyStatus, error) {
	f.note(k)
	return f.inspect(k, tier)
}

func (f *fakeCluster) Leases(_ context.Context, k *limiter.Key, most int) ([]peer.LeaseStatus, bool, error) {
	if k != nil {
		f.note(*k)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most = most
	return f.leases[:min(most, len(f.leases))], len(f.leases) > most, f.err
}

func (f *fakeCluster) Reset(_ context.Context, k limiter.Key) (bool, error) {
	f.note(k)
	return f.found, f.err
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
	adminv1.AdminServiceClient
	addr   string
	conn   *grpc.ClientConn
	server *admin.Server
	hasher limiter.Hasher
	log    *logBuffer
}

func serve(t *testing.T, cluster admin.Cluster, p *policy.Policy, change ...func(*admin.Config)) *rig {
	t.Helper()
	secrets, err := limiter.NewSecrets([]byte("the secret of the cluster"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{hasher: limiter.NewHasher(secrets, partitions), log: &logBuffer{}}
	config := admin.Config{
		Node: "b", Partitions: partitions, Cluster: cluster, Hasher: r.hasher, Policy: p,
		Log:     slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "some 1\n") }),
	}
	for _, f := range change {
		f(&config)
	}
	r.server = admin.NewServer(config)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.addr, r.conn = lis.Addr().String(), conn
	r.AdminServiceClient = adminv1.NewAdminServiceClient(conn)
	t.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(r.server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return r
}

// fails requires that err has the code, an ErrorInfo of that reason, and names the field
// if there is one.
func fails(t *testing.T, err error, code codes.Code, reason, field string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		t.Errorf("code %v, want %v (%v)", st.Code(), code, err)
	}
	var infos int
	var path string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			infos++
			if d.GetReason() != reason || d.GetDomain() != "sluice" {
				t.Errorf("ErrorInfo %v, want reason %s", d, reason)
			}
		case *errdetails.BadRequest:
			path = d.GetFieldViolations()[0].GetField()
		}
	}
	if infos != 1 || path != field {
		t.Errorf("%d ErrorInfo, field %q; want one, %q", infos, path, field)
	}
}
